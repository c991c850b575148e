"""The book of a service's jobs, in the object store: any replica may read it and write it, and none holds more.

Below `<root>/.jobs/<service>/` lie

    requests/<id>.json      what was asked for
    outputs/<entry>         of each job that has not ended, or is about to be open: where its datasets go
    open/<entry>            of each job that has not ended: what keepers look at
    recent/<entry>          of each job: what is listed
    progress/<entry>.json   of each job that has begun
    cancels/<entry>         of each job that is to stop
    votes/<entry>/…         of each job that ends or has ended: what was proposed as its end
    ends/<entry>.json       of each job that has ended

An id is a hash of the service and the request's id, so a request sent twice is one job. An entry is a time that sorts
the newest first, a random number, and the id: after a job is deleted its request may come again, and what is left of
the first job is then nothing to the second.
"""

import contextlib
import hashlib
import random
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

from pydantic import ValidationError

from repoloom import store as stores
from repoloom.corpus.manifest import Record
from repoloom.errors import ConflictError, CorruptDataError, NotFoundError, RepoloomError, UnavailableError
from repoloom.jobs.addresses import overlap
from repoloom.jobs.agreement import agree
from repoloom.jobs.records import Accepted, End, JobRequest, Outcome, Progress
from repoloom.store import open_store

R = TypeVar("R", bound=Record)

FOLDER = ".jobs"
ID = re.compile(r"[0-9a-f]{32}")
ENTRY = re.compile(r"\d{13}-[0-9a-f]{8}-[0-9a-f]{32}")
_SERVICE = re.compile(r"[a-z][a-z_]{0,63}")
_MARK = b"\n"  # what an object holds whose name says it all: S3 has no first byte of an empty one to ask for
_KEPT = ("outputs", "recent", "progress", "cancels", "votes", "ends")  # open/ is looked after by keepers
_LOOKS, _PAUSE = 10, 0.2  # how often those that are about to open are looked at, and seconds at most between
_LAST_MOMENT = 10**13  # milliseconds since 1970: in the year 2286


class UnfinishedError(RepoloomError):
    """The job has not ended."""


@dataclass(frozen=True)
class Job:
    """A job as it stands."""

    accepted: Accepted
    progress: Progress | None
    end: End | None
    cancel_requested: bool


class JobBook:
    """The jobs of one service."""

    def __init__(self, root: str, service: str) -> None:
        if not _SERVICE.fullmatch(service):
            raise ValueError(f"{service!r} is no name of a service")
        self.root = open_store(root).uri
        self.service = service
        self._store = open_store(f"{self.root}/{FOLDER}/{service}")
        self._outputs: dict[str, str] = {}  # by entry, as read before: it never changes

    def accept(self, request: JobRequest, most: int) -> str:
        """Takes a request, unless `most` jobs are open, and returns the job's entry; again, and it is the same job.

        Raises ConflictError where another request bore its id, or has its output as long as that job is open, and
        UnavailableError where too many jobs are open. Of requests for one output that come at the same moment the
        oldest entry's is taken, by whichever clocks they have. Jobs of other services are not looked at.
        """
        job = hashlib.sha256(f"{self.service}/{request.request_id}".encode()).hexdigest()[:32]
        own = ""
        if self._accepted(job) is None:
            if sum(1 for _ in islice(self._store.list("open"), most)) == most:
                raise UnavailableError(f"{most} jobs wait or run already; start this one when some have ended")
            own = _new_entry(job)
            self._write(f"requests/{job}.json", Accepted(request=request, entry=own, created=datetime.now(UTC)))
        try:
            held = self._accepted(job)  # read back: another replica may have taken the same request at the same time
            if held is None or held.request != request:
                raise ConflictError(f"request_id {request.request_id!r} was used for another request; make a new one")
            if not self.ended(held.entry) and not self._is_open(held.entry):
                self._open(held.entry, request.output, withdraws=held.entry == own)
        except BaseException:
            if own:  # else it is for whoever wrote the request to say
                self._remove(own)
            raise
        return held.entry

    def check_output(self, entry: str, output: str) -> None:
        """Raises ConflictError where an output is an older job's that is open too.

        A replica that was frozen, and died right after it opened its job, did not see what had opened meanwhile.
        """
        self._check_open([rival for rival in self._rivals(entry, output) if rival > entry], output)

    def announce(self, entry: str) -> None:
        """Enters a job into the lists. Whoever takes it up does so again, since its writer may have died between."""
        stores.write(self._store, f"open/{entry}", _MARK)
        stores.write(self._store, f"recent/{entry}", _MARK)

    def accepted(self, entry: str) -> Accepted | None:
        """The request of an entry; None where it has none any more. Raises CorruptDataError."""
        held = self._accepted(id_of(entry))
        return held if held is not None and held.entry == entry else None

    def find(self, job: str) -> Job:
        """A job by its id. Raises NotFoundError, CorruptDataError."""
        accepted = self._accepted(job)
        if accepted is None:
            raise NotFoundError(f"there is no operation {job}: it was never started, or was deleted")
        entry = accepted.entry
        progress = self.progress(entry)
        if (end := self.end(entry)) is not None:  # read after the progress, which is removed when it is there
            return Job(accepted, end.progress, end, end.cancel_requested)
        return Job(accepted, progress, None, self.cancel_requested(entry))

    def open_entries(self) -> list[str]:
        """The entries of the jobs that have not ended, the oldest first."""
        return [*self._entries("open")][::-1]

    def entries(self, after: str) -> Iterator[str]:
        """The entries of all jobs that follow one, the newest first."""
        return (entry for entry in self._entries("recent") if entry > after)

    def progress(self, entry: str) -> Progress | None:
        """Where a job stands; None where it has not begun, or where what was written cannot be read."""
        try:
            return self._read(f"progress/{entry}.json", Progress)
        except CorruptDataError:  # its runner writes it anew within a second; where there is none, another begins
            return None

    def write_progress(self, entry: str, progress: Progress) -> None:
        """Replaces the progress of a job."""
        self._write(f"progress/{entry}.json", progress)

    def cancel(self, job: str) -> None:
        """Asks a job to stop; one that has ended does not mind. Raises NotFoundError."""
        accepted = self._accepted(job)
        if accepted is None:
            raise NotFoundError(f"there is no operation {job}: it was never started, or was deleted")
        entry = accepted.entry
        if self.ended(entry):
            return
        stores.write(self._store, f"cancels/{entry}", _MARK)
        # A runner writes its progress before it looks for this mark, so of the two at least one sees the other.
        if not self._store.exists(f"progress/{entry}.json"):
            self.finish(entry, End(outcome=Outcome.CANCELLED, ended=datetime.now(UTC), cancel_requested=True))

    def cancel_requested(self, entry: str) -> bool:
        """Whether a job is to stop."""
        return self._store.exists(f"cancels/{entry}")

    def ended(self, entry: str) -> bool:
        """Whether a job has ended."""
        return self._store.exists(f"ends/{entry}.json")

    def end(self, entry: str) -> End | None:
        """The end of a job. Raises CorruptDataError."""
        return self._read(f"ends/{entry}.json", End)

    def finish(self, entry: str, end: End) -> None:
        """Ends a job, unless it has ended. Raises CorruptDataError where nobody can say which end it has.

        Of several who end it at the same moment all write the same end, on which they agree: who has seen an end never
        sees another, until the record is deleted.
        """
        if not self.ended(entry):
            agreed = agree(self._store, f"votes/{entry}", end.model_dump_json())
            stores.write(self._store, f"ends/{entry}.json", agreed.encode())
        self.close(entry)

    def close(self, entry: str) -> None:
        """Takes an entry off the list of open ones, last of all: a keeper goes on where this was broken off."""
        for key in (f"outputs/{entry}", f"progress/{entry}.json", f"cancels/{entry}", f"open/{entry}"):
            self._store.delete(key)

    def delete(self, job: str) -> None:
        """Removes the record of a job that has ended. Raises NotFoundError, and UnfinishedError where it has not."""
        try:
            accepted = self._accepted(job)
        except CorruptDataError:  # whose it was nobody can say; what lies elsewhere of it means nothing without it
            self._store.delete(f"requests/{job}.json")
            return
        if accepted is None:
            raise NotFoundError(f"there is no operation {job}: it was never started, or was deleted")
        entry = accepted.entry
        if not self.ended(entry):
            raise UnfinishedError(f"operation {job} has not ended; cancel it first")
        self._remove(entry)

    def started_before(self, moment: datetime) -> Iterator[str]:
        """The entries that were made before a moment and of which anything is left, the newest first.

        Some are in no list: who was frozen writes of a job that was deleted meanwhile, who dies leaves a request alone.
        """
        kept = {entry for folder in _KEPT for entry in self._entries(folder)}
        listed = {id_of(entry) for entry in kept}
        for key in self._store.list("requests"):
            job = ID.match(key, len("requests/"))
            if job and job[0] not in listed:
                with contextlib.suppress(CorruptDataError):  # nobody can say which entry it has
                    if (held := self._accepted(job[0])) is not None:
                        kept.add(held.entry)
        return (entry for entry in sorted(kept) if entry > _place(moment))

    def expire(self, entry: str, moment: datetime) -> None:
        """Removes what is left of an entry, if its job ended before a moment, or neither ended nor is open."""
        is_open = self._is_open(entry)  # first: a job that is closed has its end by then
        try:
            end = self.end(entry)
            over = end.ended < moment if end else not is_open
        except CorruptDataError:  # it may say nothing else, but it says that there was an end
            over = self.ended(entry)
        if over:
            self._remove(entry)

    def sweep(self) -> None:
        """Removes what writers that died left unfinished."""
        self._store.sweep()

    def _open(self, entry: str, output: str, *, withdraws: bool) -> None:
        """Takes an output for a job, until the job is closed, and opens the job. Raises ConflictError.

        Each writes what it takes and then looks at what others took, so of two at least one sees the other. What is
        open keeps its output, whatever comes later. Of those that are about to open, the oldest entry stays; the others
        withdraw, each by whoever wrote its request, and look again. What neither opens nor withdraws for so long was
        left by a replica that died, and keeps its output from nobody. Should it open yet, it sees what has opened
        meanwhile, and is refused.
        """
        for _ in range(_LOOKS):
            stores.write(self._store, f"outputs/{entry}", output.encode())
            rivals = self._rivals(entry, output)
            if not rivals:
                break
            self._check_open(rivals, output)
            if withdraws and max(rivals) > entry:
                self._store.delete(f"outputs/{entry}")
            time.sleep(random.uniform(0, _PAUSE))
        else:
            stores.write(self._store, f"outputs/{entry}", output.encode())
        self.announce(entry)
        try:
            self._check_open(self._rivals(entry, output), output)
        except ConflictError:
            self._remove(entry)
            raise

    def _check_open(self, rivals: list[str], output: str) -> None:
        """Raises ConflictError where one of the jobs is open."""
        for rival in rivals:
            if self._is_open(rival):
                raise ConflictError(
                    f"output: operations/{self.service}/{id_of(rival)} has not ended, and {output!r} is its output, "
                    "or lies above or below it; of the jobs of one service only one has an output: "
                    "wait for its end, cancel it, or give another output"
                )

    def _rivals(self, entry: str, output: str) -> list[str]:
        """The entries that have taken an output, or what lies above or below it, for other jobs of this service."""
        taken = {other: self._outputs.get(other) or self._output(other) for other in self._entries("outputs")}
        self._outputs = taken
        return [
            other
            for other in taken
            if id_of(other) != id_of(entry)
            and taken[other]
            and overlap(taken[other], output)
            and self.accepted(other) is not None  # else it was refused or deleted
            and not self.ended(other)  # else it was not closed to the end
        ]

    def _is_open(self, entry: str) -> bool:
        return self._store.exists(f"open/{entry}")

    def _output(self, entry: str) -> str:
        """The output that a job has taken, "" where the job was closed meanwhile."""
        with contextlib.suppress(FileNotFoundError):
            return self._store.read(f"outputs/{entry}").decode()
        return ""

    def _remove(self, entry: str) -> None:
        """Removes what is kept of an entry, its place in the list last: `expire` goes on where this was broken off."""
        with contextlib.suppress(CorruptDataError):  # it may be of a later job
            if self.accepted(entry) is not None:
                self._store.delete(f"requests/{id_of(entry)}.json")
        for key in (f"ends/{entry}.json", *self._store.list(f"votes/{entry}")):
            self._store.delete(key)
        self.close(entry)
        self._store.delete(f"recent/{entry}")

    def _entries(self, folder: str) -> Iterator[str]:
        found = (ENTRY.match(key, len(folder) + 1) for key in self._store.list(folder))
        return (entry[0] for entry in found if entry)

    def _accepted(self, job: str) -> Accepted | None:
        return self._read(f"requests/{job}.json", Accepted)

    def _read(self, key: str, record: type[R]) -> R | None:
        with contextlib.suppress(FileNotFoundError):
            try:
                return record.model_validate_json(self._store.read(key))
            except ValidationError:
                raise CorruptDataError(
                    f"{self._store.uri}/{key} cannot be read; delete the operation and start the job again, "
                    "what it committed is kept"
                ) from None
        return None

    def _write(self, key: str, record: Record) -> None:
        stores.write(self._store, key, record.model_dump_json().encode())


def id_of(entry: str) -> str:
    """The id of an entry's job."""
    return entry.rpartition("-")[2]


def _new_entry(job: str) -> str:
    return f"{_place(datetime.now(UTC))}-{secrets.token_hex(4)}-{job}"


def _place(moment: datetime) -> str:
    """How an entry begins that was made at a moment."""
    return f"{_LAST_MOMENT - int(moment.timestamp() * 1000):013}"
