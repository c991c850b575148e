"""The roll-out of a model: to the canary, which must serve it without a break for a while, then to all; or back.

A break that the model is not to blame for, such as a node that is drained, has that while begin anew.

What it goes by stands in the release's status from its start, so it is brought to an end whatever becomes of the
training. A Deployment is of one release at a time, which an annotation names.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from repoloom_operator.actions import Action, Requeue
from repoloom_operator.children import work_of
from repoloom_operator.conditions import Condition, Outcome, fields, reason, since
from repoloom_operator.deployments import MODEL, Deployment, Model
from repoloom_operator.resources import ModelReleaseSpec, Resource, moment, timestamp


def work(model: str, recipe: str, spec: ModelReleaseSpec) -> str:
    """What a status is of. Whatever else it is of begins anew, but how long a canary is tried may change meanwhile."""
    return work_of(model, recipe, spec.model_dump(mode="json", exclude={"canary"}))


def as_wanted(release: Resource[ModelReleaseSpec]) -> bool:
    """Whether the status is of what the release still asks for, by the model that it began with."""
    lineage = release.status.get("lineage")
    if lineage is None:
        return False
    return bool(release.status["work"] == work(lineage["model"], lineage["recipe"], release.spec))


def under_way(status: Mapping[str, Any]) -> bool:
    """Whether a model may be served that is to be released yet, or to be taken back."""
    return "candidate" in status and status["phase"] != "Released"


def not_ready(reason: str, said: str = "", *, alarming: bool = False) -> Condition:
    """Why the model is not released."""
    return Condition("Ready", False, reason, said, alarming=alarming)


SERVED = "all replicas serve the model"


def released(said: str) -> Condition:
    """That it is."""
    return Condition("Ready", True, "Released", said)


def deployment_missing(release: Resource[ModelReleaseSpec], found: Deployment | None) -> Condition:
    """That there is nothing to roll out to."""
    if found and found.canary:
        said = f"{found.name} is a canary; make a ModelRelease of the Deployment that it belongs to"
        return not_ready("DeploymentIsCanary", said, alarming=True)
    said = f"there is no Deployment {release.spec.deployment} that serves a model, whose address {MODEL} has as a value"
    return not_ready("DeploymentMissing", said, alarming=True)


def on_its_way(serving: Deployment) -> Condition:
    """That all replicas are to serve it, and what keeps them from that."""
    if not serving.replicas:
        return no_replicas(serving)
    return not_ready("RollingOut", serving.said or "all replicas get the model")


def no_replicas(deployment: Deployment) -> Condition:
    """That a Deployment is switched off."""
    said = f"{deployment.name} has no replicas to serve the model; this goes on when it is scaled up"
    return not_ready("NoReplicas", said, alarming=True)


def rejected() -> Condition:
    """That it never will be."""
    return not_ready("GatesMissed", "nothing was rolled out")


def rolled_back() -> Condition:
    """That it was served, and is no more."""
    return not_ready("RolledBack", "the former model is served again; the events tell why", alarming=True)


def ended(release: Resource[ModelReleaseSpec]) -> Outcome:
    """The end that a release has come to, told again where it was told since that a Deployment could not be changed."""
    phase = release.status["phase"]
    ends = {"Released": released(SERVED), "Rejected": rejected(), "RolledBack": rolled_back()}
    again = (ends[phase],) if reason(release.status, "Ready") == "PatchRefused" else ()
    return Outcome(phase, again, fields(release.status))


HELD = "CanaryHeld"
"""The condition that tells whether the canary held: unknown since it first served the model."""

_TRIES, _BREAKS = 3, timedelta(hours=1)
"""A canary is tried for so many times as long as it must serve without a break, and so much more, at the most."""


class RollOut:
    """One that is under way."""

    def __init__(
        self,
        release: Resource[ModelReleaseSpec],
        serving: Deployment | None,
        canary: Deployment | None,
        now: datetime,
        look_seconds: float,
    ) -> None:
        self.release, self.serving, self.canary = release, serving, canary
        self.now, self.look = now, Requeue(look_seconds)
        self.fields = dict(release.status)
        self.phase = release.status["phase"]
        self.model, self.former = Model(**release.status["candidate"]), Model(**release.status["former"])

    def steps(self) -> Iterator[Action]:
        """What is to be done; the status is written before what it remembers is overwritten."""
        serving, canary = self.serving, self.canary
        if self.phase == "RolledBack":
            yield from list(self.back()) or self._gone_back()
        elif not as_wanted(self.release):
            yield from self._roll_back("another release is asked for by now")
        elif serving is None or serving.model is None:
            yield from self._write(self.phase, deployment_missing(self.release, serving))
            yield self.look
        elif self.phase == "Canary" and canary and (canary.replicas or canary.model == self.model):
            yield from self._try(canary)
            yield self.look
        elif serving.model != self.model:
            news = [on_its_way(serving)] if self.phase == "Canary" else []
            yield from self._write("RollingOut", *news)  # once: what is refused stays told
            yield serving.serve(self.model)
            yield self.look
        elif serving.stuck:
            yield from self._broken(serving)
        elif serving.ready:
            yield from self._write("Released", released(SERVED))
            yield Requeue(0)
        else:
            yield from self._write("RollingOut", on_its_way(serving))
            yield self.look

    def back(self) -> Iterator[Action]:
        """Steps towards the former model wherever this one is served; none where it is not."""
        served = [each for each in (self.serving, self.canary) if each and each.model == self.model]
        if served:
            yield from (deployment.serve(self.former) for deployment in served)
            yield Requeue(0)

    def _try(self, canary: Deployment) -> Iterator[Action]:
        begun, unbroken = since(self.release.status, HELD), self.fields.get("canarySince")
        seconds = self.release.spec.canary.seconds
        wanted = timedelta(seconds=seconds)
        if canary.model != self.model:  # at first, or by another's will: it is tried from its beginning
            self.fields["canarySince"] = None
            yield from self._write("Canary")
            yield canary.serve(self.model)
        elif canary.stuck:
            yield from self._broken(canary)
        elif begun and canary.ended and canary.ended >= begun:
            yield from self._broken(canary, "stopped serving the model")
        elif canary.ready and unbroken and self.now - moment(unbroken) >= wanted:
            held = Condition(HELD, True, "Held")
            yield from self._write("RollingOut", not_ready("RollingOut", "the canary held"), held)
        elif begun and self.now - begun > _TRIES * wanted + _BREAKS:
            yield from self._broken(canary, f"did not serve the model for {seconds} s without a break")
        elif not canary.ready:
            self.fields["canarySince"] = None
            waits = not_ready("Canary", canary.said or "the canary is to serve the model")
            yield from self._write("Canary", waits if canary.replicas else no_replicas(canary))
        elif not unbroken:
            self.fields["canarySince"] = timestamp(self.now)
            tried = Condition(HELD, None, "Tried")
            yield from self._write("Canary", not_ready("Canary", "the canary serves the model"), tried)

    def _broken(self, deployment: Deployment, how: str = "did not serve the model") -> Iterator[Action]:
        why = f"{deployment.name} {how}"
        yield from self._roll_back(f"{why}\n{deployment.said}" if deployment.said else why)

    def _roll_back(self, why: str) -> Iterator[Action]:
        first, *rest = why.split("\n", 1)
        said = "\n".join([f"{first}; it goes back to {self.former.uri}", *rest])
        tried = [Condition(HELD, False, "RolledBack")] if self.phase == "Canary" else []
        yield from self._write("RolledBack", not_ready("RolledBack", said, alarming=True), *tried)
        yield Requeue(0)

    def _gone_back(self) -> Iterator[Action]:
        """Once, which the status remembers: whoever serves the model later means it."""
        self.fields |= {"former": None, "candidate": None}
        news = [rolled_back()] if reason(self.release.status, "Ready") == "PatchRefused" else []
        yield from self._write("RolledBack", *news)
        yield Requeue(0)

    def _write(self, phase: str, *conditions: Condition) -> Iterator[Action]:
        return Outcome(phase, conditions, self.fields).write(self.release, self.now)
