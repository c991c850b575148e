"""A stage for tests: makes small repositories, and copies them, misbehaving where it is told to."""

import os
import signal
import time
from collections.abc import Iterable, Mapping

import pyarrow as pa

from repoloom.corpus.tables import DROPPED, FILES, Drops
from repoloom.engine.step import Accounts, Params, Reader, Shares, Sink, Step
from repoloom.errors import UnavailableError


class MakeParams(Params):
    repositories: int = 8
    files: int = 3


class Make(Step[MakeParams]):
    name = "probe.make"
    reads = ()
    writes = {"files": FILES}
    accounts = Accounts(None, kept=("files",))

    def plan(self, tables: Shares, task_bytes: int) -> Iterable[Shares]:
        yield {}

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        for number in range(self.params.repositories):
            rows = [_file(f"probe/{number:03}", f"file{i}.py") for i in range(self.params.files)]
            out.enter(len(rows), sum(row["size"] for row in rows))
            out.write("files", pa.RecordBatch.from_pylist(rows, schema=FILES))
            out.roll("files")


class CopyParams(Params):
    bad: dict[str, str] = {}  # repository -> how the task that meets it misbehaves
    cured_by: str = ""  # a file whose presence makes bad repositories good


class Copy(Step[CopyParams]):
    name = "probe.copy"
    reads = ("files",)
    writes = {"files": FILES, "dropped": DROPPED}
    accounts = Accounts("files", kept=("files",))

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        drops = Drops()
        for repository in inputs["files"].repositories():
            if not (self.params.cured_by and os.path.exists(self.params.cured_by)):
                _misbehave(self.params.bad.get(repository["repo"][0].as_py(), ""), out)
            kept = repository.slice(1)
            first = repository.slice(0, 1).to_pylist()[0]
            drops.add(
                repo=first["repo"], path=first["path"], language="", size=first["size"], rule="first", content=first["content"]
            )
            out.write("files", kept)
        out.write("dropped", drops.take())


class Wait(Step[CopyParams]):
    """Copies slowly, so that there is time to be killed in."""

    name = "probe.wait"
    reads = ("files",)
    writes = {"files": FILES}
    accounts = Accounts("files", kept=("files",))

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        for batch in inputs["files"].batches():
            time.sleep(0.02)
            out.write("files", batch)


def _misbehave(how: str, out: Sink) -> None:
    match how:
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang":
            time.sleep(3600)
        case "memory":
            held = []
            while True:
                held.append(bytearray(os.urandom(1 << 20)) * 16)
        case "raise":
            raise ValueError("this repository is poison")
        case "unavailable":
            raise UnavailableError("the host does not answer")
        case "lose":
            out.enter(1, 1)
        case "exit":
            os._exit(7)


def _file(repo: str, path: str) -> dict[str, object]:
    content = f"# {repo} {path}\n".encode() * 50
    return {
        "repo": repo,
        "revision": "1",
        "path": path,
        "domain": "code",
        "language": "Python",
        "license": "MIT",
        "blob": "0" * 40,
        "sha256": "0" * 64,
        "size": len(content),
        "content": content,
    }


STEPS = (Make, Copy, Wait)
