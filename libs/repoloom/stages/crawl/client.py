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

from repoloom.stages.crawl.errors import RepositoryTooLargeError, SourceUnavailableError

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
_COMPLAINT = re.compile(r"^(?:fatal|error|E|Err:\d+|npm error)\b:?\s*(?!code )(.+)", re.MULTILINE)
_SAID_BYTES = 16 << 10
_TOO_LARGE = re.compile(r"signal 25|File too large|EFBIG")


@dataclass(frozen=True)
class Client:
    """A program that this machine may have, and how to get it."""

    program: str
    install: str  # the command that installs it

    @contextlib.contextmanager
    def start(
        self,
        arguments: Sequence[str | Path],
        *,
        subject: str,
        folder: Path,
        timeout: float,
        environment: Mapping[str, str],
        max_file_bytes: int,
        max_memory: int = resource.RLIM_INFINITY,
    ) -> Iterator["subprocess.Popen[bytes]"]:
        """The running program, with pipes to its input and output; when the block ends, so has it, with all its children.

        `subject` is what the errors are about. Raises SourceUnavailableError where the program is missing, fails or takes longer than
        `timeout` seconds, RepositoryTooLargeError where it wants to write a file larger than `max_file_bytes`.
        """
        with tempfile.TemporaryFile(dir=folder) as said:
            try:
                process = subprocess.Popen(  # noqa: S603
                    [self.program, *map(str, arguments)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    cwd=folder,
                    env=dict(environment),
                    start_new_session=True,
                )
            except FileNotFoundError as error:
                raise SourceUnavailableError(
                    f"{subject}: {self.program} is not installed; install it with: {self.install}"
                ) from error
            late = threading.Event()
            watch = threading.Timer(timeout, lambda: (late.set(), _kill(process)))
            watch.start()
            try:
                with contextlib.suppress(ProcessLookupError):
                    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))
                    resource.prlimit(process.pid, resource.RLIMIT_AS, (max_memory, max_memory))
                yield process
                _close(process)
                code = process.wait()
            finally:
                watch.cancel()
                _kill(process)
                _close(process)
                process.wait()
            if late.is_set():
                raise SourceUnavailableError(f"{subject}: {self.program} was not done after {timeout:g} s")
            if code:
                raise _failure(subject, code, _tail(said), max_file_bytes)

    def run(
        self,
        arguments: Sequence[str | Path],
        *,
        subject: str,
        folder: Path,
        timeout: float,
        environment: Mapping[str, str],
        max_file_bytes: int,
        max_memory: int = resource.RLIM_INFINITY,
    ) -> bytes:
        """What the program writes to its output. Raises as `start` does."""
        with self.start(
            arguments,
            subject=subject,
            folder=folder,
            timeout=timeout,
            environment=environment,
            max_file_bytes=max_file_bytes,
            max_memory=max_memory,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            return process.stdout.read(_SAID_BYTES)


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


def _failure(subject: str, code: int, said: str, max_file_bytes: int) -> Exception:
    if code == -signal.SIGXFSZ or _TOO_LARGE.search(said):
        return RepositoryTooLargeError(f"{subject} is a download of more than {max_file_bytes} bytes; max_repository_bytes sets this limit")
    complaint = _COMPLAINT.search(said)
    lines = said.split("\n")
    reason = complaint[1] if complaint else next((line for line in reversed(lines) if line.strip()), f"exit status {code}")
    return SourceUnavailableError(f"{subject}: {' '.join(reason.split())}")
