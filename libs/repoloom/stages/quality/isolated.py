"""Syntax of many files, in a child process: some grammars die of some input, and must not take the task with them.

The child is a fork, so the texts cost no copy, and it ends without returning to its parent's code. A grammar that corrupts
or exhausts memory kills the child alone: the file at hand is then unknown, and a new child goes on with the next one.
"""

import faulthandler
import os
import resource
import signal
import struct
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from repoloom.stages.quality.syntax import error_share, parser

_DEATHS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE}
"""What a grammar's own failure looks like; any other signal came from outside."""

_SHARE = struct.Struct("<d")
_UNKNOWN = -1.0


def error_shares(files: Sequence[tuple[bytes, str]]) -> list[float | None]:
    """`syntax.error_share` of each (text, grammar); None also where the grammar died of the text.

    Raises:
        ChildProcessError: the child ended in another way.
    """
    for grammar in {grammar for _, grammar in files}:
        parser(grammar)  # loaded before the fork, once for all children
    shares: list[float] = []
    while len(shares) < len(files):
        shares += _in_child(files[len(shares) :])
        if len(shares) < len(files):
            shares.append(_UNKNOWN)
    return [None if share == _UNKNOWN else share for share in shares]


def _in_child(files: Sequence[tuple[bytes, str]]) -> list[float]:
    """The shares of the files, up to the one that the child died of."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _measure(files, writing)
    os.close(writing)
    with open(reading, "rb") as results:
        found = results.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status != 0 and -status not in _DEATHS:
        raise ChildProcessError(f"the parsing process ended with status {status}")
    return [share for (share,) in _SHARE.iter_unpack(found)]


def _measure(files: Sequence[tuple[bytes, str]], writing: int) -> NoReturn:
    """The child: writes one share after the other, and leaves by the shortest way."""
    status = 1
    try:
        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for text, grammar in files:
            share = error_share(text, grammar)
            os.write(writing, _SHARE.pack(_UNKNOWN if share is None else share))
        status = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)
