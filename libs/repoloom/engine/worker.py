"""A worker process: reads tasks as JSON lines, does them one at a time, answers with JSON lines.

It is started by the local pool, `python -m repoloom.engine.worker`, and ends when its input ends, so a killed run
leaves no worker behind. What a task's libraries print goes to stderr, never into the answers.
"""

import errno
import faulthandler
import os
import signal
import sys
import tempfile
from typing import TextIO

from repoloom.corpus.manifest import Record
from repoloom.engine.task import Commit, Kind, Task
from repoloom.errors import CorruptDataError, InputError, RefusedError, RepoloomError, StoreError, UnavailableError
from repoloom.processes import conceal, end_with_parent

_OF_THE_MACHINE = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
)
"""What whatever task is done here may meet: a disk that is full or broken, no file or memory left."""


class Answer(Record):
    """A line from a worker: where the task stands, its commit, or its error."""

    at: str = ""
    commit: Commit | None = None
    error: str | None = None
    kind: Kind = Kind.ERROR  # of the error
    fatal: bool = False  # no other attempt here can help: the store or the machine refuses, or stored bytes are corrupt


def main() -> None:
    """Serves tasks until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    faulthandler.enable()
    end_with_parent()
    conceal()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the run decides what it means
    import pyarrow as pa

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    for line in sys.stdin.buffer:  # JSON is UTF-8, whatever the locale says
        answers.write(_do(Task.model_validate_json(line), answers).model_dump_json() + "\n")


def _do(task: Task, answers: TextIO) -> Answer:
    from repoloom.engine.execute import execute

    def reached(repository: str) -> None:
        answers.write(Answer(at=repository).model_dump_json() + "\n")

    try:
        return Answer(commit=execute(task, reached))
    except Exception as error:  # whatever a stage meets is reported, counted, and quarantined
        return Answer(
            error=_describe(error),
            kind=_kind(error),
            fatal=isinstance(error, StoreError | CorruptDataError)
            or _is_of_the_machine(error)
            or (isinstance(error, InputError) and not task.inputs),  # then it is the recipe's fault alone
        )


def _is_of_the_machine(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in _OF_THE_MACHINE


def _kind(error: Exception) -> Kind:
    if isinstance(error, RefusedError):
        return Kind.REFUSED
    return Kind.UNAVAILABLE if isinstance(error, UnavailableError) else Kind.ERROR


def _describe(error: Exception) -> str:
    text = str(error)
    if not isinstance(error, RepoloomError):
        import traceback

        frames = traceback.extract_tb(error.__traceback__)
        where = f" ({frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno})" if frames else ""
        text = f"{type(error).__name__}: {text}{where}"[:2000]
    if _is_of_the_machine(error):
        scratch = f", first its scratch folder {tempfile.tempdir} (TMPDIR sets it)" if tempfile.tempdir else ""
        text += f"; see to this machine{scratch}"
    return text.encode("utf-8", "backslashreplace").decode()  # names of files need not be UTF-8


if __name__ == "__main__":
    main()
