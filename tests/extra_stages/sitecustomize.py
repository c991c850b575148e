"""Makes the stages beside this file known to repoloom, in every process that has this folder on PYTHONPATH.

With KILL_TOKENS=<folder> each worker process takes a file out of that folder, as long as there is one, and ends with
SIGKILL at the file system event below KILL_BELOW=<folder> whose number is the file's name. With UNLIMITED set no task
is ended for its limits, as where the kernel cannot end a process that waits for a disk.
"""

import os
import sys
from pathlib import Path

import killing

import repoloom.stages

repoloom.stages.__path__.append(str(Path(__file__).parent / "stages"))


def _claim(tokens: Path) -> int | None:
    for token in sorted(tokens.iterdir()):
        try:
            token.unlink()
        except FileNotFoundError:
            continue  # another worker was faster
        return int(token.name)
    return None


if "KILL_TOKENS" in os.environ and "repoloom.engine.worker" in sys.orig_argv:
    event = _claim(Path(os.environ["KILL_TOKENS"]))
    if event is not None:
        killing.die_at(event, below=os.environ["KILL_BELOW"])

if "UNLIMITED" in os.environ:
    from repoloom.engine import pool

    pool._over_time = pool._over_memory = lambda _: None
