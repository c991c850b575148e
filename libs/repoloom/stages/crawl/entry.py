"""What a source is seen as, whatever its kind: repositories, and their files one after another."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a file is not stored: the rule of its drop record, and what the rule measured."""

    rule: str
    detail: str = ""
    value: float | None = None
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One file as a source lists it. Nothing about it is to be trusted."""

    path: bytes
    size: int  # bytes, as the source says
    content: (
        Callable[[], bytes] | Refusal
    )  # reads it, once, while it is the current entry; or why there is nothing to read


@dataclass(frozen=True)
class Repository:
    """One repository of a source. Its entries are read once, in order, before the next repository is asked for."""

    name: str
    revision: str
    kind: str
    url: str  # where a reader finds it; never with credentials
    entries: Iterator[Entry]
