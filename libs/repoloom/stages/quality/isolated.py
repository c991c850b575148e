"""Syntax of many files, in a child process: some grammars die of some input, and must not take the task with them.

The child is a fork, so the texts cost no copy, and it ends without returning to its parent's code. A grammar that
corrupts or exhausts memory, or never ends, kills the child alone; a new child goes on with the next file.
"""

import faulthandler
import os
import resource
import signal
import struct
import sys
import time
import traceback
from collections.abc import Sequence
from typing import NoReturn

import psutil

from repoloom.stages.quality.syntax import error_share, parser

_DEATHS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGXCPU}
"""What a grammar's own failure looks like; any other signal came from outside."""

_MEMORY = 1 << 30
"""Bytes that a child may take for itself. The largest honest trees take a few dozen MiB."""

_SECONDS = 60
"""Of a processor, for one file. No honest file comes near (a slow grammar reads 1 MB a second); a hostile one is lost
either way, since whoever waits for its end finds it full of errors."""

_SHARE = struct.Struct("<d")
_GIVEN_UP = -1.0


def error_shares(files: Sequence[tuple[bytes, str]]) -> list[float | None]:
    """`syntax.error_share` of each (text, grammar); None also where the grammar died of the text or took too much.

    Raises:
        ChildProcessError: the child ended in another way.
    """
    for grammar in {grammar for _, grammar in files}:
        parser(grammar)  # loaded before the fork, once for all children
    shares: list[float] = []
    while len(shares) < len(files):
        shares += _in_child(files[len(shares) :])
        if len(shares) < len(files):
            shares.append(_GIVEN_UP)
    return [None if share == _GIVEN_UP else share for share in shares]


def _in_child(files: Sequence[tuple[bytes, str]]) -> list[float]:
    """The shares of the files, up to the one that the child died of."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _measure(files, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as results:
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
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_AS, psutil.Process().memory_info().vms + _MEMORY)
        for text, grammar in files:
            _limit(resource.RLIMIT_CPU, int(time.process_time()) + _SECONDS)
            share = error_share(text, grammar)
            os.write(writing, _SHARE.pack(_GIVEN_UP if share is None else share))
        status = 0
    except MemoryError:
        os.abort()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _limit(kind: int, most: int) -> None:
    """Lowers a soft limit of this process; the hard one, which may not be raised again, stays."""
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
