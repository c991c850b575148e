"""Makes the stages beside this file known to repoloom, in every process that has this folder on PYTHONPATH.

Two more things that only tests want, chosen by the environment:
KILL_AT=<n> ends the process with SIGKILL at its n-th file system event (open, rename, remove, mkdir...), so that a run can be
killed at each moment of a commit without a hook in the code under test.
"""

import os
import signal
import sys
from pathlib import Path

import repoloom.stages

repoloom.stages.__path__.append(str(Path(__file__).parent / "stages"))

_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.unlink", "os.listdir", "os.scandir"}

if kill_at := int(os.environ.get("KILL_AT", "0")):
    seen = 0

    def _count(event: str, arguments: tuple[object, ...]) -> None:
        global seen
        if event in _EVENTS and os.environ["KILL_BELOW"] in str(arguments[0]):
            seen += 1
            if seen == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(_count)
