"""What a reconciler may want done. Each can be done twice, and the operator may die between any two."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from repoloom_operator.resources import Manifest


@dataclass(frozen=True)
class AddFinalizer:
    """Has the resource wait for the operator before it ends."""


@dataclass(frozen=True)
class DropFinalizer:
    """Lets the resource end."""


@dataclass(frozen=True)
class Create:
    """Makes a child. Another object of its name is left alone, and told of."""

    manifest: Manifest


@dataclass(frozen=True)
class Delete:
    """Deletes this very child and all that it owns, and lets it stay until those have ended."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True)
class Patch:
    """Changes some fields of an object, by strategic merge where Kubernetes knows the kind."""

    kind: str
    name: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class SetStatus:
    """Replaces the resource's status, unless somebody wrote to the resource since it was looked at."""

    status: Mapping[str, Any]


@dataclass(frozen=True)
class Emit:
    """Tells an event of the resource."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Requeue:
    """Looks again after so many seconds, whatever happens until then."""

    seconds: float | None = None  # by default the settings' own


Action: TypeAlias = AddFinalizer | DropFinalizer | Create | Delete | Patch | SetStatus | Emit | Requeue
