"""What a store does and what it lacks, found out by writing below a scratch key and looking."""

import contextlib
import functools
import secrets
import time
from collections.abc import Callable
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from repoloom.errors import RepoloomError
from repoloom.store import Store, open_store, write

_LARGE = 17 << 20  # bytes; more than is sent in one request


class Check(StrEnum):
    """Something a store may do."""

    READ_AFTER_WRITE = "read-after-write"
    LIST_AFTER_WRITE = "list-after-write"
    OVERWRITE = "overwrite visible"
    RANGE_READS = "range reads"
    MULTIPART = "multipart upload"
    DELETE = "delete"
    CONDITIONAL_PUT = "conditional PUT"
    CHECKSUMS = "checksum enforcement"
    SIGNATURES = "signature enforcement"
    CLOCK = "clock"


_WELCOME = frozenset({Check.CONDITIONAL_PUT, Check.SIGNATURES})
"""What is good to have: no commit depends on a conditional PUT, and who may write is for the server's owner to say."""


class Verdict(StrEnum):
    """What was found."""

    HONOURED = "honoured"
    IGNORED = "ignored"
    FAILED = "failed"  # refused, or answered with an error


class Finding(BaseModel):
    """One thing that a store does, or lacks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    check: Check
    verdict: Verdict
    needed: bool  # without it a run may fail or its data be harmed
    detail: str = ""

    @property
    def fine(self) -> bool:
        """Whether repoloom can work so."""
        return self.verdict is Verdict.HONOURED or not self.needed


Look = Callable[[], tuple[bool, str]]
"""Whether something holds, and what there is to say of it."""


def probe(uri: str) -> list[Finding]:
    """Tries a store out and removes what it wrote. Raises InputError and StoreError where it cannot even be written."""
    store = open_store(uri)
    scratch = f"probe-{secrets.token_hex(8)}"
    write(store, f"{scratch}/object", b"first")
    try:
        findings = [find(check, functools.partial(look, store, scratch)) for check, look in _CHECKS.items()]
        if store.uri.startswith("s3://"):
            from repoloom.store.s3_probe import s3_findings  # its client takes long to import

            findings += s3_findings(store.uri, scratch)
        return findings
    finally:
        for key in ("object", "large", "conditional", "harmed"):
            with contextlib.suppress(RepoloomError):
                store.delete(f"{scratch}/{key}")


def find(check: Check, look: Look) -> Finding:
    """What a look found."""
    needed = check not in _WELCOME
    try:
        holds, detail = look()
    except (RepoloomError, FileNotFoundError) as error:
        return Finding(check=check, verdict=Verdict.FAILED, needed=needed, detail=str(error))
    return Finding(check=check, verdict=Verdict.HONOURED if holds else Verdict.IGNORED, needed=needed, detail=detail)


def _read_after_write(store: Store, scratch: str) -> tuple[bool, str]:
    return store.read(f"{scratch}/object") == b"first", ""


def _list_after_write(store: Store, scratch: str) -> tuple[bool, str]:
    return list(store.list(scratch)) == [f"{scratch}/object"], ""


def _overwrite(store: Store, scratch: str) -> tuple[bool, str]:
    write(store, f"{scratch}/object", b"second")
    return store.read(f"{scratch}/object") == b"second", ""


def _range_reads(store: Store, scratch: str) -> tuple[bool, str]:
    with store.open(f"{scratch}/object") as file:
        file.seek(3)
        return file.read() == b"ond", ""


def _multipart(store: Store, scratch: str) -> tuple[bool, str]:
    content = bytes(range(256)) * (_LARGE >> 8)
    started = time.monotonic()
    write(store, f"{scratch}/large", content)
    same = store.read(f"{scratch}/large") == content
    return same, f"{_LARGE >> 20} MiB written and read in {time.monotonic() - started:.1f} s"


def _delete(store: Store, scratch: str) -> tuple[bool, str]:
    store.delete(f"{scratch}/object")
    return not store.exists(f"{scratch}/object"), ""


_CHECKS: dict[Check, Callable[[Store, str], tuple[bool, str]]] = {
    Check.READ_AFTER_WRITE: _read_after_write,
    Check.LIST_AFTER_WRITE: _list_after_write,
    Check.OVERWRITE: _overwrite,
    Check.RANGE_READS: _range_reads,
    Check.MULTIPART: _multipart,
    Check.DELETE: _delete,
}
