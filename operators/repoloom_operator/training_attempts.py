"""The jobs of a training one after the other: which has failed or hangs, which found no place, when the next begins."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from repoloom_operator.children import Child, State, work_of
from repoloom_operator.conditions import Condition
from repoloom_operator.resources import Resource, TrainingRunSpec, moment, timestamp
from repoloom_operator.training_output import Output, place_of

_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=10), timedelta(seconds=300)
"""Before a training that failed begins anew; twice as long each time."""

_FIRST_PLACING, _LONGEST_PLACING = timedelta(seconds=60), timedelta(seconds=900)
"""The same where pods found no place, times one to two: those of others need some seconds to find theirs."""


class Attempts:
    """The job that is there now, if any, and what the status remembers of it and of those before: `fields`."""

    def __init__(
        self, run: Resource[TrainingRunSpec], job: Child | None, output: Output, fields: dict[str, Any], now: datetime
    ) -> None:
        self.run, self.job, self.output, self.fields, self.now = run, job, output, fields, now

    @property
    def over(self) -> bool:
        """Whether the job that is there was counted: it is to go."""
        return self.job is not None and self.job.uid == self.fields["counted"]

    def count(self) -> Condition | None:
        """Why the job is to be replaced, where that is news: a failure counts, a job that found no place does not."""
        job, fields = self.job, self.fields
        if job is None or job.deleting or self.over:
            return None
        if failure := self._failure(job):
            fields |= {"counted": job.uid, "failedAt": timestamp(self.now), "moved": None}
            fields["restarts"] += 1
            fields["fruitless"] += 1
            best: Mapping[str, Any] = max(fields["furthest"] or {}, fields["progress"] or {}, key=place_of)
            fields["furthest"] = {name: best[name] for name in ("stage", "step") if name in best}
            return failure
        if unplaced := self._unplaced(job):
            fields["counted"] = job.uid
        return unplaced

    def watch(self) -> None:
        """Notes when the step last moved, or what comes before the first one, in this very job."""
        job, output = self.job, self.output
        if job is None or job.state is not State.RUNNING:
            self.fields["moved"] = None
            return
        moved = self.fields["moved"]
        at = output.progress_of(self.fields["run"])
        place = {"job": job.uid, "stage": at.stage if at else "", "step": at.step if at else 0}
        place["prepared"] = at.prepared if at else 0
        if moved is None or output.trouble or place != {name: moved.get(name, 0) for name in place}:
            self.fields["moved"] = {**place, "time": timestamp(self.now)}

    def rested(self) -> datetime:
        """When to begin anew, after the failures so far."""
        if not self.fields["failedAt"]:
            return self.now
        fruitless: int = self.fields["fruitless"]
        wait = min(_LONGEST_WAIT, _FIRST_WAIT * (1 << min(fruitless, 10) - 1))
        return moment(self.fields["failedAt"]) + wait

    def placeable(self) -> datetime:
        """When to try again after jobs whose pods have not all begun: longer each time, and no two runs in step."""
        placing = self.fields["placing"] or {}
        if "givenUp" not in placing:
            return self.now
        tries: int = placing["tries"]
        wait = min(_LONGEST_PLACING, _FIRST_PLACING * (1 << min(tries, 10) - 1))
        return moment(placing["givenUp"]) + wait * (1 + int(work_of(self.run.uid, tries), 16) / (1 << 64))

    def _failure(self, job: Child) -> Condition | None:
        if job.state is State.FAILED:
            said = job.said or job.verdict or "a worker failed and said nothing"
            return Condition("Ready", False, "WorkerFailed", said, alarming=True)
        if job.state is State.RUNNING and not self.run.spec.suspend:
            self.watch()
            moved = self.fields["moved"]
            still = self.now - moment(moved["time"])
            if still > timedelta(seconds=self.run.spec.hang_seconds):
                step = f"step {moved['step']}" + (f" of {moved['stage']}" if moved["stage"] else "")
                said = f"{step} has not moved for {still.total_seconds():.0f} s"
                return Condition("Ready", False, "Hung", said, alarming=True)
        return None

    def _unplaced(self, job: Child) -> Condition | None:
        """Why the job is given up for a while where not all of its pods have begun: two of which each got some of its
        pods would wait for each other else.
        """
        placing = self.fields["placing"] or {}
        if self.run.spec.suspend:
            return None
        before = {name: placing[name] for name in ("tries", "givenUp") if name in placing}
        if job.state is not State.WAITING:
            self.fields["placing"] = (before or None) if job.state is State.SUSPENDED else None
            return None
        if placing.get("job") != job.uid:
            self.fields["placing"] = {**before, "job": job.uid, "since": timestamp(self.now)}
            return None
        waited = self.now - moment(placing["since"])
        if waited <= timedelta(seconds=self.run.spec.hang_seconds):
            return None
        self.fields["placing"] = {"tries": before.get("tries", 0) + 1, "givenUp": timestamp(self.now)}
        said = f"not all pods have begun for {waited.total_seconds():.0f} s"
        said += f"; others may have their place until {timestamp(self.placeable())}"
        return Condition("Ready", False, "NotScheduled", f"{job.said}\n{said}".strip(), alarming=True)
