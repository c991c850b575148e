"""A stack that goes on when its terminal is gone, and its end from another one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from repoloom.errors import UnavailableError
from repoloom.up.folder import Folder
from repoloom.up.record import StackRecord, read_record

_LOOK_SECONDS = 0.2
_END_SECONDS = 60.0  # more than all graces together


def start_detached(folder: Folder, arguments: Sequence[str]) -> StackRecord:
    """Starts `repoloom up` with its own session, and waits until all of it is up. Raises UnavailableError.

    Where the wait is broken off, as by Ctrl-C, what was started has ended: nobody was told of it.
    """
    folder.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    with folder.own_log.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603 - our own words
            [sys.executable, "-P", "-c", "from repoloom.cli import main; main()", "up", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        while process.poll() is None:
            record = read_record(folder)
            if record is not None and record.ready and record.pid == process.pid:
                return record
            time.sleep(_LOOK_SECONDS)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    said = folder.own_log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
    raise UnavailableError(f"the stack did not come up: {said.removeprefix('error: ')}")


def end_stack(folder: Folder) -> bool:
    """Ends the stack of a folder and waits for it. False where none runs. Raises UnavailableError."""
    pid = folder.holder()
    if not pid:
        return False
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + _END_SECONDS
    while folder.holder() is not None:
        if time.monotonic() > until:
            raise UnavailableError(f"process {pid} does not end; kill -9 {pid} ends it and all its parts")
        time.sleep(_LOOK_SECONDS)
    return True
