"""A stage for tests: makes small repositories, and copies them, misbehaving where it is told to."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from repoloom.corpus.tables import DROPPED, FILES, Drops
from repoloom.corpus.writing import TaskWriter
from repoloom.engine.step import Accounts, Params, Reader, Shares, Sink, Step
from repoloom.errors import RefusedError, UnavailableError


class MakeParams(Params):
    repositories: int = 8
    files: int = 3
    size: int = 1000  # bytes a file; they compress to about half


class Make(Step[MakeParams]):
    """One part a repository, named probe/000, probe/001..."""

    name = "probe.make"
    reads = ()
    writes: ClassVar = {"files": FILES}
    accounts = Accounts(None, kept=("files",))

    def plan(self, tables: Shares, task_bytes: int) -> Iterable[Shares]:  # noqa: ARG002 - one task that reads nothing
        yield {}

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:  # noqa: ARG002 - it reads nothing
        for number in range(self.params.repositories):
            rows = [_file(f"probe/{number:03}", f"file{i}.py", self.params.size) for i in range(self.params.files)]
            out.enter(len(rows), self.params.files * self.params.size)
            out.write("files", pa.RecordBatch.from_pylist(rows, schema=FILES))
            out.roll("files")


class CopyParams(Params):
    bad: dict[str, str] = Field(default={}, description="Repository: how the task that meets it misbehaves.")
    cured_by: str = Field(default="", description="A file whose presence makes bad repositories good.")


class Copy(Step[CopyParams]):
    """Drops the first file of each repository and keeps the rest."""

    name = "probe.copy"
    reads = ("files",)
    writes: ClassVar = {"files": FILES, "dropped": DROPPED}
    accounts = Accounts("files", kept=("files",))

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        drops = Drops()
        cured = bool(self.params.cured_by) and Path(self.params.cured_by).exists()
        for repository in inputs["files"].repositories():
            how = "" if cured else self.params.bad.get(repository["repo"][0].as_py(), "")
            if how == "lose":
                continue
            _note(repository["repo"][0].as_py(), out)
            _misbehave(how)
            first = repository.slice(0, 1).to_pylist()[0]
            cells = {name: first[name] for name in ("repo", "path", "language", "size", "content")}
            drops.add(rule="first", **cells)
            out.write("files", repository.slice(1))
        out.write("dropped", drops.take())


def _misbehave(how: str) -> None:
    match how:
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang":
            signal.pause()
        case "memory":
            held = []
            while True:
                held.append(bytearray(b"x") * (8 << 20))
                time.sleep(0.001)  # the machine is others' too
        case "memory of a child":
            program = "held = bytearray(b'x') * (500 << 20); input()"
            with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as child:
                child.wait()
        case "raise":
            raise ValueError("this repository is poison \udcff")
        case "unavailable":
            raise UnavailableError("the host does not answer")
        case "refuse":
            raise RefusedError("a repository of this kind is not read")
        case "exit":
            os._exit(7)
        case "hold":  # until the file that HOLD names is there
            while "HOLD" in os.environ and not Path(os.environ["HOLD"]).exists():
                time.sleep(0.01)
        case "kill worker":
            os.kill(os.getppid(), signal.SIGKILL)
            signal.pause()


def _note(repository: str, out: Sink) -> None:
    """Where RUN_LOG names a file, writes there which repository was begun, and whether its task was done already."""
    if log := os.environ.get("RUN_LOG"):
        assert isinstance(out, TaskWriter)
        try:
            out._store.read(f"{out._prefix}/commit.json")
            stands = "committed"
        except FileNotFoundError:
            stands = "missing"
        with Path(log).open("a") as file:
            file.write(f"{repository} {stands}\n")


def _file(repo: str, path: str, size: int) -> dict[str, object]:
    content = hashlib.shake_256(f"{repo}/{path}".encode()).hexdigest(size // 2).encode()
    return {
        "repo": repo,
        "revision": "1",
        "path": path,
        "domain": "code",
        "language": "Python",
        "license": "MIT",
        "blob": hashlib.sha1(b"blob %d\0%s" % (len(content), content), usedforsecurity=False).hexdigest(),
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "content": content,
    }


STEPS = (Make, Copy)
