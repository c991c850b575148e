"""A stack from its start to its end."""

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import FrameType
from typing import Protocol

from repoloom.engine.queue.build import build
from repoloom.errors import UnavailableError
from repoloom.up.folder import Folder
from repoloom.up.plan import BUCKET, Plan, Wishes, make_plan
from repoloom.up.record import StackRecord, part_records, write_record
from repoloom.up.supervisor import Supervisor, Watched
from repoloom.up.surroundings import write_env

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class View(Protocol):
    """Who is told."""

    def began(self, plan: Plan) -> None:
        """What is about to be started."""

    def ready(self) -> None:
        """All answer, and the file `env` is there."""

    def said(self, line: str) -> None:
        """Something happened."""

    def show(self, watched: Sequence[Watched]) -> None:
        """How the parts stand, ten times a second."""


@dataclass
class _Ending:
    """How often the process was asked to end."""

    asked: int = 0


def run_stack(folder: Folder, wishes: Wishes, view: View) -> None:
    """Runs the stack until SIGINT, SIGTERM or SIGHUP; a second one of these ends all at once.

    Raises AlreadyRunningError, InputError, UnavailableError; whatever was started by then has ended.
    """
    with folder.held(), _asked_to_end() as ending:
        plan = make_plan(folder, wishes, os.environ)
        os.environ.update(plan.exports)  # for the view, which looks at queues and jobs; and what is secret is redacted
        view.began(plan)
        _Stack(folder, plan, view, ending).run()


class _Stack:
    def __init__(self, folder: Folder, plan: Plan, view: View, ending: _Ending) -> None:
        self._folder = folder
        self._plan = plan
        self._view = view
        self._supervisor = Supervisor(view.said, self._tick, lambda: ending.asked)
        self._started = datetime.now(UTC)
        self._record: StackRecord | None = None
        self._ready = False

    def run(self) -> None:
        try:
            if self._bring_up():
                self._ready = True
                self._tick()
                self._view.ready()
                self._supervisor.keep()
        finally:
            self._view.said("ending; a second time ends all at once")
            self._supervisor.end(self._plan.tiers)
            self._folder.record.unlink(missing_ok=True)

    def _bring_up(self) -> bool:
        """Starts all. False where it was asked to end meanwhile."""
        if not self._supervisor.bring_up(self._plan.servers):
            return False
        if self._plan.own_store:
            _make_bucket(self._plan.exports)
        write_env(self._folder, self._plan.exports)
        return self._supervisor.bring_up(self._plan.users)

    def _tick(self) -> None:
        self._view.show(self._supervisor.watched)
        record = StackRecord(
            pid=os.getpid(),
            started=self._started,
            build=build(),
            store=self._plan.store,
            env=str(self._folder.env),
            ready=self._ready,
            parts=part_records(self._supervisor.watched),
        )
        if record != self._record and write_record(self._folder, record):
            self._record = record


@contextmanager
def _asked_to_end() -> Iterator[_Ending]:
    ending = _Ending()

    def ask(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what signal.signal asks for
        ending.asked += 1

    before = {number: signal.signal(number, ask) for number in _ENDING}
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _make_bucket(exports: Mapping[str, str]) -> None:
    """Makes the bucket of the stack's own server, unless it is there. Raises UnavailableError."""
    from minio.error import MinioException
    from urllib3.exceptions import HTTPError

    from repoloom.store.s3_client import BusyError, Connection, client

    connection = Connection(
        endpoint=exports["AWS_ENDPOINT_URL_S3"],
        region=exports["AWS_REGION"],
        access_key=exports["AWS_ACCESS_KEY_ID"],
        secret_key=exports["AWS_SECRET_ACCESS_KEY"],
    )
    try:
        if not client(connection).bucket_exists(BUCKET):
            client(connection).make_bucket(BUCKET)
    except (BusyError, HTTPError, MinioException) as error:
        raise UnavailableError(f"the S3 server makes no bucket: {error}") from error
