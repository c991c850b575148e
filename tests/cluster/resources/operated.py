"""A namespace that the operator watches, and what stands in it."""

from dataclasses import dataclass
from typing import Any

from cluster import Namespace, wait_for


@dataclass(frozen=True)
class Operated(Namespace):
    """A namespace that the operator watches."""

    def make(self, kind: str, name: str, **spec: Any) -> None:
        self.apply({"apiVersion": "repoloom.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})

    def status(self, kind: str, name: str) -> dict[str, Any]:
        return dict(self.get(kind.lower(), name).get("status", {}))

    def reaches(self, kind: str, name: str, phase: str, seconds: float) -> dict[str, Any]:
        """The status of a resource, once it is in a phase."""
        said = f"{kind} {name} is {phase}"
        wait_for(said, seconds, lambda: self.status(kind, name).get("phase") == phase)
        return self.status(kind, name)

    def children(self, kind: str, owner: str) -> list[dict[str, Any]]:
        return list(self.get(kind, "--selector", f"repoloom.dev/name={owner}")["items"])

    def events(self, name: str) -> dict[str, str]:
        """The messages of a resource's events, by reason."""
        items = self.get("events", "--field-selector", f"involvedObject.name={name}")["items"]
        return {event["reason"]: event["message"] for event in items}


def condition(status: dict[str, Any], name: str) -> dict[str, Any]:
    return next(entry for entry in status["conditions"] if entry["type"] == name)
