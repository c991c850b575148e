"""A worker's heartbeat: one thread that renews its claims, announces it, and hears which attempts are to stop."""

import logging
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from repoloom.engine.queue.board import Board, Claim, Holder
from repoloom.engine.queue.broker import AWAY
from repoloom.engine.queue.pace import Pace

_log = logging.getLogger(__name__)


class CancelledError(Exception):
    """Nobody waits for this attempt: its run is over, or its task was given to another."""


class DrainedError(Exception):
    """The worker is to end, and the attempt has had its time."""


@dataclass
class Watched:
    """An attempt that the keeper keeps alive on the board."""

    claim: Claim
    keeper: "Keeper"
    lost: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raises CancelledError or DrainedError where the attempt must stop."""
        if self.lost.is_set():
            raise CancelledError
        if time.monotonic() > self.keeper.drained_at:
            raise DrainedError


class Keeper:
    """The heartbeat of one worker process. Redis being away stops no attempt."""

    def __init__(self, board: Board, queues: Sequence[str], pace: Pace) -> None:
        self.name = f"{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.drained_at = float("inf")  # on the monotonic clock
        self._board = board
        self._queues = queues
        self._pace = pace
        self._watched: dict[str, Watched] = {}

    def start(self) -> None:
        """Begins to beat."""
        threading.Thread(target=self._beat, name="keeper", daemon=True).start()

    def drain(self) -> None:
        """Gives what is under way its last seconds."""
        self.drained_at = time.monotonic() + self._pace.drain

    @contextmanager
    def keeping(self, claim: Claim) -> Iterator[Watched]:
        """Keeps a claim for as long as the block takes."""
        watched = Watched(claim, self)
        self._watched[claim.token] = watched
        try:
            yield watched
        finally:
            del self._watched[claim.token]

    def _beat(self) -> None:
        away = False
        while True:
            try:
                self._once()
                away = False
            except AWAY as error:
                if not away:
                    _log.warning("Redis is away (%s); what is under way goes on", error)
                away = True
            time.sleep(self._pace.heartbeat)

    def _once(self) -> None:
        for queue in self._queues:
            self._board.keep(queue)
        if self.drained_at == float("inf"):
            self._board.announce(self.name, self._queues)
        for watched in list(self._watched.values()):
            if watched.lost.is_set():  # who has it no more must not come by it again
                continue
            if self._board.renew(watched.claim) is not Holder.MINE:
                watched.lost.set()
            if watched.claim.token not in self._watched:  # it ended meanwhile, and has just been claimed anew
                with suppress(*AWAY):
                    self._board.release(watched.claim)
