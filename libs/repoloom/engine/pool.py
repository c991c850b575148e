"""What does tasks, and the local pool: worker processes that may crash, hang or eat memory without harm to the run."""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Protocol

from pydantic import Field

from repoloom.corpus.manifest import Record
from repoloom.engine.task import Attempt, Commit, Kind, Task
from repoloom.engine.worker import Answer
from repoloom.errors import RepoloomError
from repoloom.processes import resident

_SAID_BYTES = 1500  # of a crashed worker's last words
_LOOK_SECONDS = 0.05  # how often memory and time are looked at


class Limits(Record):
    """What one attempt of a task may take."""

    seconds: float = Field(default=3600, gt=0)
    memory_bytes: int = Field(default=4 << 30, ge=256 << 20)  # resident, of the worker process and its children


class FatalError(RepoloomError):
    """No other attempt can help: the run stops, and what is committed stays."""


@dataclass(frozen=True)
class Outcome:
    """The end of one attempt."""

    task: Task
    result: Commit | Attempt


class Pool(Protocol):
    """Whatever does tasks: processes of this machine, or workers anywhere."""

    limits: Limits

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Does each task once and yields how it ended, in the order of their ends. Raises FatalError.

        Tasks are taken only as there is room for them, so that there may be more of them than fit in memory. Whoever
        closes the iterator stops what is being done.
        """
        ...


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    stderr: IO[bytes]
    limits: Limits
    task: Task | None = None
    deadline: float = 0.0
    at: str = ""
    unread: bytes = b""  # the beginning of a line that has not come whole
    over: tuple[Kind, str] | None = None  # the limit that it was ended for


class LocalPool:
    """`size` worker processes. One pool serves all steps of a run, so that workers stay warm."""

    def __init__(self, size: int, limits: Limits) -> None:
        self.size = size
        self.limits = limits  # of the attempts that begin from now on
        self._workers: list[_Worker] = []
        self._unseen: Exception | None = None  # why the limits cannot be looked at
        self._lock = threading.Lock()  # else a worker might be ended for the task before

    def __enter__(self) -> "LocalPool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in list(self._workers):
            self._end(worker)

    def run(self, tasks: Iterable[Task], look: Callable[[], None] = lambda: None) -> Iterator[Outcome]:
        """Does each task once and yields how it ended, in the order of their ends. Raises FatalError.

        `look` is called many times a second; what it raises ends the run and the attempts that are under way.
        """
        waiting = iter(tasks)
        free = deque(self._workers)
        busy = 0
        with selectors.DefaultSelector() as selector, self._watched():
            try:
                while True:
                    while busy < self.size and (task := next(waiting, None)) is not None:
                        worker = self._take(free)
                        self._give(worker, task)
                        selector.register(worker.process.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]
                        busy += 1
                    if not busy:
                        return
                    look()
                    if self._unseen is not None:
                        raise self._unseen
                    for key, _ in selector.select(_LOOK_SECONDS):
                        outcome = self._listen(key.data)
                        if outcome is not None:
                            selector.unregister(key.fileobj)
                            busy -= 1
                            if key.data.process.poll() is None:
                                free.append(key.data)
                            yield outcome
            finally:
                for worker in [worker for worker in self._workers if worker.task is not None]:
                    self._end(worker)

    def _take(self, free: deque[_Worker]) -> _Worker:
        while free:
            worker = free.popleft()
            if worker.over is None and worker.process.poll() is None:
                return worker
            self._end(worker)
        return self._start()

    def _start(self) -> _Worker:
        stderr = tempfile.TemporaryFile(prefix="repoloom-worker-")  # noqa: SIM115 - it lives as long as the worker
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
        process = subprocess.Popen(
            [sys.executable, "-m", "repoloom.engine.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, **one_thread, "TOKENIZERS_PARALLELISM": "false", "PYTHONHASHSEED": "0"},
        )
        worker = _Worker(process, stderr, self.limits)
        with self._lock:
            self._workers.append(worker)
        return worker

    def _give(self, worker: _Worker, task: Task) -> None:
        worker.stderr.seek(0)  # the child writes to the same place, and is idle
        worker.stderr.truncate()
        with self._lock:
            worker.task, worker.at, worker.limits = task, "", self.limits
            worker.deadline = time.monotonic() + self.limits.seconds
        assert worker.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a worker that died meanwhile is noticed when it is listened to
            worker.process.stdin.write(task.model_dump_json().encode() + b"\n")
            worker.process.stdin.flush()

    def _listen(self, worker: _Worker) -> Outcome | None:
        assert worker.process.stdout is not None
        assert worker.task is not None
        chunk = os.read(worker.process.stdout.fileno(), 1 << 16)
        if not chunk:
            task, attempt = worker.task, self._failure(worker)
            self._end(worker)
            return Outcome(task, attempt)
        *lines, worker.unread = (worker.unread + chunk).split(b"\n")
        for line in lines:
            answer = Answer.model_validate_json(line)
            if answer.fatal:
                raise FatalError(answer.error)
            if answer.commit is not None or answer.error is not None:
                with self._lock:
                    task, worker.task = worker.task, None
                return Outcome(task, answer.commit or Attempt(kind=answer.kind, error=answer.error or "", at=worker.at))
            worker.at = answer.at or worker.at
        return None

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Ends workers that are over their limits, also while whoever takes the outcomes does something else.

        What hinders it (/proc may need one file too many) is raised in `run`: no task goes on that nothing limits.
        """
        self._unseen = None
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(_LOOK_SECONDS):
                try:
                    self._end_those(_over_time)
                    self._end_those(_over_memory)
                except Exception as error:  # whatever it is: a thread that died of it would say nothing
                    self._unseen = error

        watcher = threading.Thread(target=watch, name="limits", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    def _end_those(self, over: Callable[[_Worker], tuple[Kind, str] | None]) -> None:
        with self._lock:
            for worker in self._workers:
                if worker.task is not None and worker.over is None and (met := over(worker)) is not None:
                    worker.over = met
                    worker.process.kill()

    def _failure(self, worker: _Worker) -> Attempt:
        """How a process failed that has ended, or was ended."""
        code = worker.process.wait()
        if worker.over is not None:
            kind, error = worker.over
            return Attempt(kind=kind, error=error, at=worker.at)
        size = worker.stderr.seek(0, os.SEEK_END)
        worker.stderr.seek(max(0, size - _SAID_BYTES))
        said = worker.stderr.read(_SAID_BYTES).decode("utf-8", "replace").strip()
        kind = Kind.KILLED if code == -signal.SIGKILL else Kind.CRASH
        cause = f"was killed by signal {-code}" if code < 0 else f"exited with {code}"
        return Attempt(kind=kind, error=f"the worker process {cause}" + (f": {said}" if said else ""), at=worker.at)

    def _end(self, worker: _Worker) -> None:
        with self._lock:
            self._workers.remove(worker)
        worker.process.kill()
        worker.process.wait()
        worker.stderr.close()
        for pipe in (worker.process.stdin, worker.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def _over_time(worker: _Worker) -> tuple[Kind, str] | None:
    if time.monotonic() > worker.deadline:
        return Kind.TIMEOUT, f"not done after {worker.limits.seconds:g} s"
    return None


def _over_memory(worker: _Worker) -> tuple[Kind, str] | None:
    held, limit = resident(worker.process.pid), worker.limits.memory_bytes
    return (Kind.MEMORY, f"took {held >> 20} MiB, the limit is {limit >> 20} MiB") if held > limit else None
