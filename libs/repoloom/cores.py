"""How many processors there are for this process: a container may have fewer than its machine."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def cores(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Those that it may run on, and of these no more than the control group below `groups` has time of; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(math.ceil(quota) for quota in _quotas(groups))]))


def _quotas(groups: Path) -> Iterator[float]:
    """How many processors' time a container may take, where it is limited (Linux, cgroup-v2 and cpu accounting v1)."""
    with suppress(OSError, ValueError):  # "max 100000": no limit
        share, period = (groups / "cpu.max").read_text().split()
        yield int(share) / int(period)
    with suppress(OSError, ValueError):
        share, period = ((groups / f"cpu/cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        if int(share) > 0:  # -1: no limit
            yield int(share) / int(period)
