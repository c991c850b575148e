"""Which stores a worker serves: a task that reads or writes anywhere else is refused."""

import os
import re
from collections.abc import Mapping
from typing import Self

from repoloom.corpus.manifest import Record
from repoloom.engine.task import Task
from repoloom.errors import InputError

NAME = "REPOLOOM_STORE_ROOTS"
_ODD = re.compile(r"[\x00-\x1f\x7f\\%?#]")  # an object store's client may read these as something other than a name


class Roots(Record):
    """Addresses of stores; a task may read and write below them."""

    addresses: tuple[str, ...]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """The stores that REPOLOOM_STORE_ROOTS names, with commas between. Raises InputError where it names none."""
        addresses = tuple(filter(None, (address.strip() for address in environment.get(NAME, "").split(","))))
        if not addresses:
            raise InputError(f"{NAME} names no store; give the addresses below which tasks may read and write")
        for address in addresses:
            _resolve(address)
        return cls(addresses=addresses)

    def check(self, task: Task) -> None:
        """Raises InputError where a task leaves the roots, by whatever spelling."""
        for uri in (task.root, *(share.root for share in task.inputs.values())):
            if not self.hold(uri):
                raise InputError(f"{uri!r} is below none of the stores this worker serves; {NAME} names them")
        for key in (key for share in task.inputs.values() for key in share.keys):
            if key.startswith("/") or "\0" in key or ".." in key.split("/"):
                raise InputError(f"{key!r} is not a key of a store")

    def hold(self, uri: str) -> bool:
        """Whether an address lies below them. Raises InputError for what is no address of a store."""
        scheme, segments = _resolve(uri)
        return any(
            scheme == root_scheme and segments[: len(root)] == root
            for root_scheme, root in map(_resolve, self.addresses)
        )


def _resolve(uri: str) -> tuple[str, list[str]]:
    """Scheme and names of an address as the store will find it: a folder with its links followed."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        scheme, rest = "file", uri
    if scheme == "file":
        if not rest.startswith("/") or "\0" in rest or ".." in rest.split("/"):
            raise InputError(f"{uri!r} is not the absolute address of a folder")
        return scheme, [name for name in os.path.realpath(rest).split("/") if name]
    segments = rest.rstrip("/").split("/")
    if _ODD.search(uri) or any(segment in ("", ".", "..") for segment in segments):
        raise InputError(f"{uri!r} is not the address of a store")
    return scheme, segments
