"""Syntax of many files, in a child process: some grammars die of some input, and must not take the task with them.

A grammar that corrupts or exhausts memory, or never ends, kills the child alone; a new one goes on with the next file.
The child is a program of its own and no fork, since whoever asks may have threads. It is kept for the next files.
"""

import atexit
import contextlib
import queue
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence

from repoloom import programs
from repoloom.stages.quality import parsing
from repoloom.stages.quality.parsing import GIVEN_UP, HEADER, SHARE, Limits

_DEATHS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGXCPU}
"""What a grammar's own failure looks like; any other signal came from outside."""


_UNANSWERED = 1000  # files that may wait for their answers: those fit into a pipe, so that neither side waits for ever

_LIMITS = Limits()

File = tuple[bytes, str]


def error_shares(files: Sequence[File], limits: Limits = _LIMITS) -> list[float | None]:
    """`syntax.error_share` of each (text, grammar); None also where the grammar died of the text or took too much.

    Raises:
        ChildProcessError: the child ended in another way.
    """
    shares: list[float] = []
    while len(shares) < len(files):
        wanted = files[len(shares) : len(shares) + _UNANSWERED]
        with _child(limits) as child:
            found = child.ask(wanted)
        shares += found
        if len(found) < len(wanted):
            shares.append(GIVEN_UP)
    return [None if share == GIVEN_UP else share for share in shares]


class _Child:
    """A process that parses."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        command = [sys.executable, "-m", parsing.__name__, *map(str, limits)]
        self._process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=programs.environment("PYTHONPATH"),
        )

    def ask(self, files: Sequence[File]) -> list[float]:
        """The shares of the files, up to the one that the child died of. Raises ChildProcessError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            for text, grammar in files:
                name = grammar.encode()
                self._process.stdin.write(HEADER.pack(len(name), len(text)) + name + text)
            self._process.stdin.flush()
        answer = self._process.stdout.read(len(files) * SHARE.size)
        if len(answer) < len(files) * SHARE.size:
            status = self._process.wait()
            if -status not in _DEATHS:
                raise ChildProcessError(f"the parsing process ended with status {status}")
            answer = answer[: len(answer) // SHARE.size * SHARE.size]
        return [share for (share,) in SHARE.iter_unpack(answer)]

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


_idle: "queue.LifoQueue[_Child]" = queue.LifoQueue()


@contextlib.contextmanager
def _child(limits: Limits) -> Iterator[_Child]:
    """A child that is nobody else's meanwhile; one that is whole afterwards is kept."""
    child = _kept() if limits == _LIMITS else None
    child = child or _Child(limits)
    whole = False
    try:
        yield child
        whole = child.alive and limits == _LIMITS
    finally:
        if whole:
            _idle.put(child)
        else:
            child.end()


def _kept() -> _Child | None:
    with contextlib.suppress(queue.Empty):
        while True:
            child = _idle.get_nowait()
            if child.alive:
                return child
            child.end()
    return None


@atexit.register
def _end_children() -> None:
    while not _idle.empty():
        _idle.get_nowait().end()
