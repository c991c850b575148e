"""The child of `isolated`: reads texts from its input, and answers how much of each its grammar cannot read."""

import os
import resource
import signal
import struct
import sys
import time
from collections.abc import Iterator
from typing import IO, NamedTuple

HEADER = struct.Struct("<II")  # bytes of the grammar's name, bytes of the text; both follow it
SHARE = struct.Struct("<d")  # the answer
GIVEN_UP = -1.0  # the answer for a text that the parser gave up


class Limits(NamedTuple):
    """What a child may take."""

    memory: int = 1 << 30  # bytes, for itself; the largest honest trees take a few dozen MiB
    seconds: int = 60
    """Of a processor, for one file. No honest file comes near (a slow grammar reads 1 MB a second); a hostile one is
    lost either way, since whoever waits for its end finds it full of errors."""


def _main(limits: Limits) -> None:
    """Answers until the input ends."""
    import psutil

    from repoloom.stages.quality.syntax import error_share

    incoming, outgoing = sys.stdin.buffer, os.dup(1)
    os.dup2(2, 1)  # what a library prints is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, psutil.Process().memory_info().vms + limits.memory)
    try:
        for text, grammar in _files(incoming):
            _limit(resource.RLIMIT_CPU, int(time.process_time()) + limits.seconds)
            share = error_share(text, grammar)
            os.write(outgoing, SHARE.pack(GIVEN_UP if share is None else share))
    except MemoryError:
        os.abort()


def _files(incoming: IO[bytes]) -> Iterator[tuple[bytes, str]]:
    while header := incoming.read(HEADER.size):
        name_bytes, text_bytes = HEADER.unpack(header)
        name = incoming.read(name_bytes).decode()
        yield incoming.read(text_bytes), name


def _limit(kind: int, most: int) -> None:
    """Lowers a soft limit of this process; the hard one, which may not be raised again, stays."""
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


if __name__ == "__main__":
    _main(Limits(*map(int, sys.argv[1:])))
