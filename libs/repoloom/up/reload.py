"""`python -m repoloom.up.reload COMMAND...`: runs it, and anew whenever a Python file that it runs changes.

For development. What is not loaded yet is loaded as it is then, so of a change only those start anew whom it concerns.
A file that is changed in a container is not there any more when the container starts anew; so the program in it does.
"""

import contextlib
import functools
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType

import repoloom

Versions = Mapping[str, int]
_LOOK_SECONDS, _REST_SECONDS = 0.5, 0.1
_NOTING = Path(__file__).with_name("noting")


def versions(folders: Sequence[Path]) -> Versions:
    """The Python files below folders, and a checksum of what each holds."""
    paths = (path for folder in folders for path in folder.rglob("*.py"))
    return {str(path): version for path in paths if (version := _version(path)) is not None}


def _version(path: Path) -> int | None:
    """None where there is no such file any more."""
    try:
        status = path.stat()
        return _checksum(path, status.st_mtime_ns, status.st_size) if stat.S_ISREG(status.st_mode) else None
    except FileNotFoundError:
        return None


@functools.lru_cache(maxsize=1 << 16)
def _checksum(path: Path, written: int, size: int) -> int:  # noqa: ARG001 - they say that it was written anew
    return zlib.crc32(path.read_bytes())


def _at_rest(look: Callable[[], Versions]) -> Versions:
    """What is there once nothing is being written: files come one after another, and piece by piece."""
    before = look()
    while True:
        time.sleep(_REST_SECONDS)
        if (now := look()) == before:
            return now
        before = now


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
            while True:
                if look() != seen:
                    before, seen = seen, _at_rest(look)
                    if _loaded(notes) & dict(before.items() ^ seen.items()).keys():
                        break
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(_LOOK_SECONDS)
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
