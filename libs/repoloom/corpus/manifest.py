"""What a committed dataset says of itself: where it came from, its parts, its ledger; its digest is its identity."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from repoloom.corpus.ledger import Ledger


class Record(BaseModel):
    """What is stored as JSON: unknown keys are refused, nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(Record):
    """One object of a table: a Parquet file (`.parquet`) or a raw one."""

    key: str  # relative to the dataset
    sha256: str
    bytes: int  # as stored
    rows: int


class Listing(Record):
    """The parts of a table in order, by the digest of the object that lists them (`corpus/parts.py`)."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    parts: int = Field(ge=0)
    rows: int = Field(ge=0)
    bytes: int = Field(ge=0)  # of the parts, as stored


class Quarantined(Record):
    """A task that was given up: what it was to read, where it stood, and why it failed the last time."""

    task: str  # its key
    inputs: Mapping[str, tuple[str, ...]]  # table -> keys of the parts, or of the object that lists them
    at: str  # the repository it had reached, "" where it had read none
    kind: str  # error, crash, timeout, memory, unavailable or refused
    error: str
    attempts: int


class Cut(Record):
    """How the work was cut into tasks."""

    task_bytes: int
    tasks: int  # that differ: two that read equal bytes are one


class Manifest(Record):
    """The description of an immutable dataset. It holds no time or host: equal work has an equal digest.

    Parameters are part of it, and where the recipe names a local path, that path is one. Its size does not grow with
    the number of tasks.
    """

    step: str
    version: int
    params: Mapping[str, JsonValue]
    inputs: Mapping[str, str]  # table read -> digest of the dataset that holds it
    tables: Mapping[str, Listing]
    ledger: Ledger
    cut: Cut
    quarantined: tuple[Quarantined, ...] = ()

    def digest(self) -> str:
        """`sha256:` and the SHA-256 of the canonical JSON; of a quarantined task only its key is part of it.

        Nor is the cut, of which the parts' keys tell what matters.
        """
        content = self.model_dump(mode="json", exclude={"cut"})
        content["quarantined"] = [failure.task for failure in self.quarantined]
        return "sha256:" + hashlib.sha256(canonical_json(content)).hexdigest()


def canonical_json(value: Any) -> bytes:  # noqa: ANN401
    """JSON with sorted keys and no spaces, so that equal values are equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
