"""Running the ordinary clients (git, npm, apt-get): bounded in time, space and memory, and never left behind."""

import contextlib
import os
import re
import resource
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from repoloom.errors import RepoloomError, StoreError
from repoloom.processes import end_with_parent
from repoloom.stages.crawl.errors import OverdueError, RepositoryTooLargeError, SourceUnavailableError

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
_COMPLAINT = re.compile(r"^(?:fatal|error|E|npm error)\b:?\s*+(?!code )(.+)", re.MULTILINE)
_SAID_BYTES = 16 << 10
_FULL_BYTES = 16 << 20  # a program that meets a full disk may free what it wrote last before it ends
_TOO_LARGE = re.compile(r"signal 25|File too large|EFBIG")


@dataclass(frozen=True)
class Job:
    """What a client is run for, and what it may take."""

    subject: str  # what its errors are about: a source, as people call it
    folder: Path  # where it runs
    environment: Mapping[str, str]
    timeout: float  # seconds
    max_file_bytes: int  # the largest file that it may write
    max_memory: int | None = None  # address space, bytes


@dataclass(frozen=True)
class Client:
    """A program that this machine may have, and how to get it."""

    program: str
    install: str  # the command that installs it

    @contextlib.contextmanager
    def start(self, job: Job, *arguments: str | Path) -> Iterator["subprocess.Popen[bytes]"]:
        """The running program, with pipes to its input and output; it ends with the block, and so do its children.

        It also ends with this process, however that ends. Raises SourceUnavailableError where the program is missing
        or fails, OverdueError where it takes too long, RepositoryTooLargeError where it would write too large a file,
        StoreError where it fails on a disk that is full.
        """
        with tempfile.TemporaryFile() as said:
            process = self._popen(job, arguments, said)
            late = threading.Event()
            watch = threading.Timer(job.timeout, _end_late, (process, late))
            watch.start()
            try:
                _limit(process, job)
                yield process
                _close(process)
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            except RepoloomError as error:
                if late.is_set():  # what its reader met is an output that was cut off
                    raise self._overdue(job) from error
                raise
            finally:
                watch.cancel()
                watch.join()
                _kill(process)  # before it is waited for: until then its number is nobody else's
                _close(process)
                process.wait()
            if late.is_set():
                raise self._overdue(job)
            if process.returncode:
                _check_disk(job)
                raise _failure(job, process.returncode, _tail(said))

    def run(self, job: Job, *arguments: str | Path) -> bytes:
        """What the program writes to its output, up to some KiB. Raises as `start` does."""
        with self.start(job, *arguments) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            return process.stdout.read(_SAID_BYTES)

    def _overdue(self, job: Job) -> OverdueError:
        return OverdueError(f"{job.subject}: {self.program} was not done after {job.timeout:g} s")

    def _popen(self, job: Job, arguments: Sequence[str | Path], said: BinaryIO) -> "subprocess.Popen[bytes]":
        try:
            return subprocess.Popen(  # noqa: S603
                [self.program, *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                cwd=job.folder,
                env=dict(job.environment),
                start_new_session=True,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - it takes no lock that another thread could hold
            )
        except FileNotFoundError as error:
            missing = f"{self.program} is not installed; install it with: {self.install}"
            raise SourceUnavailableError(f"{job.subject}: {missing}") from error


def _limit(process: "subprocess.Popen[bytes]", job: Job) -> None:
    for kind, most in ((resource.RLIMIT_FSIZE, job.max_file_bytes), (resource.RLIMIT_AS, job.max_memory)):
        if most is not None:
            with contextlib.suppress(ProcessLookupError):  # it is done already
                _, hard = resource.prlimit(process.pid, kind)
                limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
                resource.prlimit(process.pid, kind, (limit, limit))


def _end_late(process: "subprocess.Popen[bytes]", late: threading.Event) -> None:
    late.set()
    _kill(process)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _close(process: "subprocess.Popen[bytes]") -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def _tail(said: BinaryIO) -> str:
    said.seek(max(0, said.seek(0, os.SEEK_END) - _SAID_BYTES))
    return _CREDENTIALS.sub("", said.read().decode("utf-8", "replace"))


def _check_disk(job: Job) -> None:
    """Raises StoreError where the disk that a program wrote to is full: then its failure says nothing of the source."""
    disk = os.statvfs(job.folder)
    if disk.f_bavail * disk.f_frsize < _FULL_BYTES:
        raise StoreError(
            f"{job.subject}: the disk of {job.folder} is full; free some space there, or set TMPDIR to a larger folder"
        )


def _failure(job: Job, code: int, said: str) -> RepoloomError:
    if code == -signal.SIGXFSZ or _TOO_LARGE.search(said):
        limit = f"{job.max_file_bytes} bytes; max_repository_bytes sets this limit"
        return RepositoryTooLargeError(f"{job.subject} is a download of more than {limit}")
    complaint = _COMPLAINT.search(said)
    last = next((line for line in reversed(said.split("\n")) if line.strip()), f"exit status {code}")
    return SourceUnavailableError(f"{job.subject}: {' '.join((complaint[1] if complaint else last).split())}")
