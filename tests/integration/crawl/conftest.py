"""The crawl of one source through the real step, and registries that live in a folder or on the loopback."""

import functools
import http.server
import io
import os
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from memory import MemoryReader, MemorySink
from pydantic import TypeAdapter

from repoloom.stages.crawl.limits import Limits
from repoloom.stages.crawl.sources import Source, to_json
from repoloom.stages.crawl.steps import SOURCES, Crawl

SOURCE: TypeAdapter[Source] = TypeAdapter(Source)


@pytest.fixture
def crawl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., MemorySink]:
    """Crawls the source that its arguments describe; its scratch folder must be gone afterwards."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.chdir(tmp_path)

    def run(**fields: Any) -> MemorySink:
        source = SOURCE.validate_python(fields)
        sink = MemorySink()
        try:
            task = pa.table([[source.repository], [to_json(source)]], schema=SOURCES)
            Crawl(Limits()).run({"sources": MemoryReader(task)}, sink)
        finally:
            assert list(scratch.iterdir()) == []
        return sink

    return run


class Site(http.server.ThreadingHTTPServer):
    """A folder over HTTP: its bare git repositories by git's smart protocol, and redirects of whole paths."""

    daemon_threads = True

    def __init__(self, folder: Path, host: str, port: int) -> None:
        super().__init__((host, port), functools.partial(_Handler, directory=str(folder)))
        self.folder = folder
        self.redirects: dict[str, str] = {}  # of paths, and of all below them
        self.seen: list[str] = []

    @property
    def url(self) -> str:
        return f"http://{self.server_name}:{self.server_port}"

    def server_bind(self) -> None:
        super().server_bind()
        self.server_name = str(self.server_address[0])  # whatever a resolver calls it


class _Handler(http.server.SimpleHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.seen.append(f"{self.headers['Host']} {self.path}")
        for path, target in self.server.redirects.items():
            if self.path.startswith(path):
                self.send_response(302)
                self.send_header("Location", target + self.path.removeprefix(path))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        if ".git/" in self.path:
            self._git()
        else:
            super().do_GET()

    do_POST = do_GET  # noqa: N815

    def _git(self) -> None:
        path, _, query = self.path.partition("?")
        done = subprocess.run(
            ["git", "http-backend"],
            input=self.rfile.read(int(self.headers.get("Content-Length", 0))),
            env={
                **os.environ,
                "GIT_PROJECT_ROOT": str(self.server.folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            },
            stdout=subprocess.PIPE,
            check=True,
        )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        self.send_response(200)
        for line in head.decode().split("\r\n"):
            self.send_header(*line.split(": ", 1))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Serves folders over HTTP on the loopback; an empty one where none is given."""
    running = []

    def start(folder: Path | None = None, host: str = "127.0.0.1", port: int = 0) -> Site:
        if folder is None:
            folder = tmp_path / "empty"
            folder.mkdir(exist_ok=True)
        server = Site(folder, host, port)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        running.append((server, thread))
        return server

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def serve(site: Callable[..., Site]) -> Callable[[Path], str]:
    """Serves folders over HTTP on the loopback; gives their addresses."""
    return lambda folder: site(folder).url


@pytest.fixture
def pack() -> Callable[[dict[str, bytes]], bytes]:
    """Packs files into a .tar.gz."""

    def run(files: dict[str, bytes]) -> bytes:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return packed.getvalue()

    return run
