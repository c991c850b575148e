"""Conditions, phase and events: what a person reads of a resource, written only where it says something new."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from repoloom_operator.actions import Action, Emit, SetStatus
from repoloom_operator.resources import Kind, Resource, S, moment, timestamp

RECONCILED, DEFECT = "Reconciled", "InternalError"
"""The condition that is false, for that reason, while a defect keeps the operator from what a resource asks for."""

_LONGEST = 1024  # characters of an event's message, Kubernetes' own limit

_WORK: Mapping[Kind, str] = {"CorpusBuild": "recipe", "TrainingRun": "run", "ModelRelease": "work"}
"""The field of a status that says what the rest of it is of."""


@dataclass(frozen=True)
class Condition:
    """Something that holds or does not; None: it cannot be told yet."""

    type: str
    holds: bool | None
    reason: str  # one CamelCase word
    message: str = ""  # without one there is no event of it
    alarming: bool = False  # news of it is a warning

    @property
    def status(self) -> str:
        return "Unknown" if self.holds is None else str(self.holds)


@dataclass(frozen=True)
class Outcome:
    """A status as a reconciler wants it.

    Conditions are kept from one look to the next until another is set, or the status is of other work: all begin anew.
    """

    phase: str
    conditions: Sequence[Condition]
    fields: Mapping[str, Any]  # of the status; what is None is absent

    def write(self, resource: Resource[S], now: datetime) -> Iterator[Action]:
        """Sets the status if it changes, then tells what is new. Nothing where all is as it was."""
        work = _WORK[resource.kind]
        same = self.fields.get(work) == resource.status.get(work)
        before = {entry["type"]: entry for entry in resource.status.get("conditions", ()) if same}
        after = dict(before)
        for condition in self.conditions:
            after[condition.type] = _entry(condition, before.get(condition.type), resource.generation, now)
        status = {name: value for name, value in self.fields.items() if value is not None}
        status |= {
            "phase": self.phase,
            "observedGeneration": resource.generation,
            "conditions": list(after.values()),
        }
        if status == resource.status:
            return
        yield SetStatus(status)
        for condition in self.conditions:
            old = before.get(condition.type, {})
            news = (old.get("status"), old.get("reason")) != (condition.status, condition.reason)
            if news and condition.message:
                kind: Literal["Normal", "Warning"] = "Warning" if condition.alarming else "Normal"
                yield Emit(kind, condition.reason, condition.message[:_LONGEST])


def noted(condition: Condition, resource: Resource[S], now: datetime) -> Iterator[Action]:
    """Sets one condition if it changes; the rest of the status stays as it is, as does what it was of."""
    before = {entry["type"]: entry for entry in resource.status.get("conditions", ())}
    entry = _entry(condition, before.get(condition.type), resource.generation, now)
    if entry != before.get(condition.type):
        yield SetStatus({**resource.status, "conditions": list((before | {condition.type: entry}).values())})


def fields(status: Mapping[str, Any]) -> dict[str, Any]:
    """What a status has besides what every status has."""
    return {name: value for name, value in status.items() if name not in ("phase", "observedGeneration", "conditions")}


def carried(resource: Resource[S], *conditions: Condition) -> Outcome:
    """The status as it is, but for some conditions."""
    looked_at = resource.status.get("observedGeneration") == resource.generation
    return Outcome(resource.status["phase"] if looked_at else "Pending", conditions, fields(resource.status))


def _entry(condition: Condition, old: Mapping[str, Any] | None, generation: int, now: datetime) -> dict[str, Any]:
    same = old is not None and old.get("status") == condition.status
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": generation,
        "lastTransitionTime": old["lastTransitionTime"] if old and same else timestamp(now),
    }


def holds(status: Mapping[str, Any], condition: str) -> bool:
    """Whether a condition of a status holds."""
    return any(entry["type"] == condition and entry["status"] == "True" for entry in status.get("conditions", ()))


def since(status: Mapping[str, Any], condition: str) -> datetime | None:
    """Since when a condition of a status is as it is; None where there is none."""
    times = (moment(each["lastTransitionTime"]) for each in status.get("conditions", ()) if each["type"] == condition)
    return next(times, None)


def reason(status: Mapping[str, Any], condition: str) -> str:
    """Why a condition of a status is as it is; empty where there is none."""
    return next((entry["reason"] for entry in status.get("conditions", ()) if entry["type"] == condition), "")
