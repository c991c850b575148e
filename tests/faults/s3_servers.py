"""Real S3 servers on this machine: rclone's, and MinIO's where its program is at hand."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minio import Minio

_CLUSTER = Path(__file__).parents[3] / "shared" / "cluster" / "cluster"
_ACCESS_KEY = "tests"


@dataclass(frozen=True)
class S3Server:
    """A server that runs, with a bucket named `tests`."""

    name: str
    address: str  # host:port
    secret_key: str
    process: "subprocess.Popen[bytes]"

    def environment(self, address: str | None = None) -> dict[str, str]:
        """What makes a process use this server, directly or by way of another address."""
        return {
            "AWS_ENDPOINT_URL_S3": f"http://{address or self.address}",
            "AWS_ACCESS_KEY_ID": _ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
        }

    def client(self) -> Minio:
        """A client of nobody's making but MinIO's."""
        return Minio(self.address, _ACCESS_KEY, self.secret_key, secure=False, region="us-east-1")


def kinds() -> list[str]:
    """The servers that can be started here."""
    return ["rclone", "minio"] if _minio() else ["rclone"]


@contextlib.contextmanager
def serve(kind: str, folder: Path, port: int | None = None, secret_key: str | None = None) -> Iterator[S3Server]:
    """Runs a server over a folder. One that is started again there, with its port and secret, has what it had."""
    address = f"127.0.0.1:{port or free_port()}"
    secret_key = secret_key or secrets.token_hex(16)
    if kind == "rclone":
        rclone = shutil.which("rclone", path=str(Path(sys.executable).parent)) or "rclone"
        environment = {"RCLONE_AUTH_KEY": f'"{_ACCESS_KEY},{secret_key}"', "RCLONE_CONFIG": "/dev/null"}
        command = [rclone, "serve", "s3", "--addr", address, str(folder)]
    else:
        environment = {"MINIO_ROOT_USER": _ACCESS_KEY, "MINIO_ROOT_PASSWORD": secret_key, "MINIO_UPDATE": "off"}
        console = f"127.0.0.1:{free_port()}"
        command = [str(_minio()), "server", "--quiet", "--address", address, "--console-address", console, str(folder)]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment})
    server = S3Server(kind, address, secret_key, process)
    try:
        _await(server)
        yield server
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _minio() -> Path | None:
    if not _CLUSTER.exists():
        return None
    tools = subprocess.run([str(_CLUSTER), "tools"], capture_output=True, text=True)
    program = Path(tools.stdout.strip()) / "minio"
    return program if tools.returncode == 0 and program.is_file() else None


def _await(server: S3Server) -> None:
    client = server.client()
    for _ in range(600):
        assert server.process.poll() is None, f"{server.name} ended with {server.process.returncode}"
        with contextlib.suppress(Exception), socket.create_connection(server.address.split(":"), timeout=1):
            if not client.bucket_exists("tests"):
                client.make_bucket("tests")
            return
        time.sleep(0.1)
    raise TimeoutError(f"{server.name} does not answer")
