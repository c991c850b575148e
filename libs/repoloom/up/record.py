"""`up.json`: what of a stack runs where, for commands and scripts. It holds no secret."""

from collections.abc import Sequence

from pydantic import AwareDatetime

from repoloom.corpus.manifest import Record
from repoloom.up.folder import Folder, write_private
from repoloom.up.supervisor import State, Watched


class PartRecord(Record):
    """A part as it stands."""

    name: str
    address: str
    state: State
    pid: int | None
    restarts: int
    metrics: str
    log: str


class StackRecord(Record):
    """A stack as it stands."""

    pid: int
    started: AwareDatetime
    build: str
    store: str  # address below which the services' datasets lie
    env: str  # path of the file to source
    ready: bool  # all parts have been up
    parts: tuple[PartRecord, ...]


def part_records(watched: Sequence[Watched]) -> tuple[PartRecord, ...]:
    """The parts for the record."""
    return tuple(
        PartRecord(
            name=one.part.name,
            address=one.part.address,
            state=one.state,
            pid=one.pid,
            restarts=one.restarts,
            metrics=one.part.metrics,
            log=str(one.part.log),
        )
        for one in watched
    )


def write_record(folder: Folder, record: StackRecord) -> bool:
    """Replaces the record. False where the disk takes none, as a full one: no stack is to end for that."""
    try:
        write_private(folder.record, record.model_dump_json(indent=1) + "\n")
    except OSError:
        return False
    return True


def read_record(folder: Folder) -> StackRecord | None:
    """The record of the stack that runs; None where none does."""
    if folder.holder() is None:
        return None
    try:
        return StackRecord.model_validate_json(folder.record.read_bytes())
    except FileNotFoundError:
        return None
