"""`python -m repoloom.up.reload COMMAND...`: runs it, and anew whenever a Python file that it runs changes.

For development. What is not loaded yet is loaded as it is then, so of a change only those start anew whom it concerns.
A file that is changed in a container is not there any more when the container starts anew; so the program in it does.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType

import repoloom

Versions = Mapping[str, int]
_LOOK_SECONDS = 0.5
_NOTING = Path(__file__).with_name("noting")


def versions(folders: Sequence[Path]) -> Versions:
    """The Python files below folders, and when each was written last."""
    return {str(path): path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*.py") if path.is_file()}


def run(command: Sequence[str], look: Callable[[], Versions]) -> int:
    """Runs a command until it ends by itself; returns its exit code.

    A program that ends while nothing changed has ended: whoever started this one decides what becomes of it.
    """
    with tempfile.TemporaryDirectory(prefix="repoloom-reload-") as folder:
        notes = Path(folder, "loaded")
        path = os.pathsep.join([str(_NOTING), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "REPOLOOM_LOADED": str(notes), "PYTHONPATH": path}
        while True:
            notes.write_text("")
            seen = look()
            process = subprocess.Popen(command, env=environment)  # noqa: S603 - our own words
            signal.signal(signal.SIGTERM, partial(_pass_on, process))
            while not (changed := seen.items() ^ look().items()) or not _loaded(notes) & dict(changed).keys():
                try:
                    return process.wait(_LOOK_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
            print("a file has changed: starting anew", file=sys.stderr, flush=True)
            process.kill()  # its jobs and tasks are taken up by the next one
            process.wait()


def _loaded(notes: Path) -> frozenset[str]:
    return frozenset(notes.read_text().splitlines())


def _pass_on(process: "subprocess.Popen[bytes]", number: int, _: FrameType | None) -> None:
    process.send_signal(number)


def main() -> None:
    """The entry point."""
    libraries = Path(repoloom.__file__).parents[1]
    folders = [libraries, *(path for path in map(Path, sys.path) if path.parent == libraries.parent)]
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.exit(run(sys.argv[1:], lambda: versions(folders)))


if __name__ == "__main__":
    main()
