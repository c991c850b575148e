"""The network between the fleet and the S3 server: each kind of request meets the faults that can befall it."""

import threading
import time
from collections.abc import Mapping

from faulty import Fault, FaultyProxy

ANY = {Fault.ERROR_500: 0.015, Fault.ERROR_503: 0.015, Fault.DELAY: 0.02, Fault.LOST_ANSWER: 0.015}
UPLOAD = {Fault.CUT_UPLOAD: 0.04, Fault.FLIP_UPLOAD: 0.02}
LISTING = {Fault.STALE_LISTING: 0.08, Fault.TRUNCATE: 0.03}
OBJECT = {Fault.TRUNCATE: 0.03, Fault.FLIP: 0.01}


def named(fault: Fault) -> str:
    """What a fault is called among all others."""
    return f"wire: {fault.name.lower().replace('_', ' ')}"


class Wire(FaultyProxy):
    """Keeps what happened when, and since when each commit could be read. Times are of the monotonic clock."""

    def __init__(self, target: str, seed: int) -> None:
        super().__init__(target, seed=seed)
        self.stormy = False
        self.log: list[tuple[float, str]] = []
        self.readable: dict[str, float] = {}
        """By the address of a task."""
        self.work = 0  # requests about what tasks write and read
        self._drawing = threading.Lock()

    def draw(self, request: str) -> Fault | None:
        with self._drawing:
            self.work += "/tasks/" in request
            self.rates = dict(self._rates(request)) if self.stormy else {}
            fault = super().draw(request)
        if fault is not None:
            self.log.append((time.monotonic(), named(fault)))
        return fault

    def answered(self, request: str, status: int) -> None:
        command, path = request.split(" ")
        task, _, name = path.partition("?")[0].rpartition("/")
        if name == "commit.json" and command in ("GET", "PUT") and 200 <= status < 300:
            self.readable.setdefault(f"s3:/{task}", time.monotonic())

    def _rates(self, request: str) -> Mapping[Fault, float]:
        command, path = request.split(" ")
        if command in ("PUT", "POST"):
            return ANY | UPLOAD
        if command == "GET" and "list-type=2" in path:
            stale = path in self.listings  # the first listing of a prefix is as fresh as can be
            return ANY | {fault: rate for fault, rate in LISTING.items() if stale or fault is not Fault.STALE_LISTING}
        return ANY | OBJECT if command == "GET" else ANY
