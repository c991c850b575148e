"""TrainingRun: waits for its corpus, trains, notices failures and hangs, and begins anew from the newest checkpoint."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from repoloom.training.progress import TrainingProgress
from repoloom_operator.actions import Action, AddFinalizer, Create, Requeue
from repoloom_operator.children import JOB_KINDS, Child, Children, State
from repoloom_operator.conditions import Condition, Outcome, fields
from repoloom_operator.corpus_build import HELDOUT, PACK, Kept
from repoloom_operator.resources import (
    FINALIZER,
    CorpusBuildSpec,
    Resource,
    TrainingRunSpec,
    camel,
    moment,
    timestamp,
)
from repoloom_operator.rivals import Rival, writer
from repoloom_operator.settings import Settings
from repoloom_operator.training_attempts import Attempts
from repoloom_operator.training_jobs import resume, training_job
from repoloom_operator.training_output import Output, model_of, place_of
from repoloom_operator.training_plan import Blocked, Plan, plan_of


@dataclass(frozen=True)
class Observed:
    """All that decides what is to be done."""

    now: datetime
    settings: Settings
    resource: Resource[TrainingRunSpec]
    children: Sequence[Child]
    corpus: Resource[CorpusBuildSpec] | None
    kept: Kept  # of the corpus
    output: Output
    rivals: Sequence[Rival]
    unwritable: str = ""  # why the output cannot be written; looked at when a job is about to begin


def reconcile(seen: Observed) -> Iterator[Action]:
    """The next steps towards what the resource wants; none where all is as it should be."""
    run = seen.resource
    children = Children(run, seen.children)
    if run.deleting:
        if FINALIZER in run.finalizers:
            yield from children.end()
        return
    if FINALIZER not in run.finalizers:
        yield AddFinalizer()
        return
    try:
        plan = plan_of(run, seen.corpus, writer(seen.rivals, children.found), seen.settings.store_roots)
    except Blocked as blocked:
        yield from _blocked(blocked, run, children, seen.now)
        return
    yield from _Training(seen, plan, children).steps()


def begins(seen: Observed) -> bool:
    """Whether a job is about to begin."""
    return any(isinstance(action, Create) and action.manifest["kind"] in JOB_KINDS for action in reconcile(seen))


def _blocked(
    blocked: Blocked, run: Resource[TrainingRunSpec], children: Children[TrainingRunSpec], now: datetime
) -> Iterator[Action]:
    """What a run has done and counted is kept; one that has trained is told of its own new spec alone."""
    yield Requeue()
    unchanged = blocked.phase == "Pending" or run.status.get("observedGeneration") == run.generation
    if "weights" in run.status and unchanged:
        return
    goes_on = not blocked.stops and not run.spec.suspend and any(child.is_job for child in children.found)
    if not goes_on:
        yield from children.stop()
    phase = run.status.get("phase", "Pending") if goes_on else blocked.phase
    yield from Outcome(phase, blocked.conditions, fields(run.status)).write(run, now)


_ACCEPTED = Condition("Accepted", True, "RecipeChecked", "the recipe is valid, and fits the corpus")


def _told(progress: TrainingProgress) -> dict[str, Any]:
    """What a status says of a training, in the digits that people read; the store has all."""
    fields = camel(progress.model_dump(mode="json", exclude={"state", "run", "work"}))
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in fields.items()}


class _Training:
    """A plan, and what is there of it."""

    def __init__(self, seen: Observed, plan: Plan, children: Children[TrainingRunSpec]) -> None:
        self.seen, self.plan, self.children = seen, plan, children
        run = seen.resource
        self.spec, self.now = run.spec, seen.now
        self.wanted = training_job(run, seen.settings, plan.recipe.content, plan.store, plan.work)
        self.job = children.current(self.wanted)
        kept = run.status if run.status.get("run") == plan.work else {}
        told = run.status if run.status.get("corpus") == plan.digest else {}
        self.fields: dict[str, Any] = {
            "run": plan.work,
            "corpus": plan.digest,
            "recipe": plan.recipe.identity,
            "restarts": kept.get("restarts", 0),
            "fruitless": kept.get("fruitless", 0),
            **{name: kept.get(name) for name in ("counted", "failedAt", "furthest", "moved", "progress", "startTime")},
            "placing": kept.get("placing"),
            **{name: kept.get(name) for name in ("completionTime", "identity", "weights", "model", "loss")},
            **{name: told.get(name) for name in ("heldout", "contamination")},
        }
        if seen.kept.contamination is not None and seen.kept.digests.get(PACK) == plan.digest:
            found = [{"benchmark": name, "hits": hits} for name, hits in seen.kept.contamination.items()]
            self.fields |= {"heldout": seen.kept.digests[HELDOUT], "contamination": found}
        self.finished = "weights" in kept
        if self.job and not self.finished and (progress := seen.output.progress_of(plan.work)):
            self.fields["progress"] = _told(progress)
            if place_of(self.fields["progress"]) > place_of(self.fields["furthest"]):
                self.fields |= {"fruitless": 0, "failedAt": None}
        if self.job and not self.fields["startTime"]:
            began = self.job.began or (self.now if self.job.state is State.RUNNING else None)
            self.fields["startTime"] = began and timestamp(began)
        self.attempts = Attempts(run, self.job, seen.output, self.fields, self.now)

    def steps(self) -> Iterator[Action]:
        """What is to be done; the status is written before what it remembers is deleted."""
        run, job = self.seen.resource, self.job
        if self.finished:
            yield from self._outcome("Succeeded", self._trained()).write(run, self.now)
            yield from self._retire()
            if self.fields["contamination"] is None and self.seen.kept.digests.get(PACK) in (None, self.plan.digest):
                yield Requeue()  # what the corpus was cleaned of can be read yet
        elif job and job.state is State.SUCCEEDED and not job.deleting:
            yield from self._succeeded().write(run, self.now)
            yield Requeue()
        else:
            yield from self._unfinished()

    def _unfinished(self) -> Iterator[Action]:
        run, fields = self.seen.resource, self.fields
        ended = self.attempts.count()
        if fields["fruitless"] > self.spec.max_restarts:
            yield from self._given_up(ended)
        elif self.attempts.over:
            yield from self._outcome("Restarting", ended).write(run, self.now)
            yield from self.children.stop()
        elif self.spec.suspend:
            fields |= {"moved": None, "placing": None}
            idle = Condition("Ready", False, "Suspended")
            kept = "the newest checkpoint is kept; going on starts from there"
            suspended = Condition("Suspended", True, "Suspended", kept)
            yield from self._outcome("Suspended", idle, suspended).write(run, self.now)
            yield from self.children.stop()
        else:
            phase, ready, *more = yield from self._goes_on()
            yield from self._outcome(phase, ready, *more).write(run, self.now)
            yield Requeue()

    def _goes_on(self) -> Generator[Action, None, tuple[str, Condition | None, *tuple[Condition, ...]]]:
        job = self.job
        if job is None:
            if any(child.is_job for child in self.children.found):
                yield from self.children.stop()
                return "Pending", Condition("Ready", False, "Replacing", "pods of a former job are still there")
            if (begins := self.attempts.rested()) > self.now:
                return "Pending", Condition("Ready", False, "Resting", f"begins anew at {timestamp(begins)}")
            if self.attempts.placeable() > self.now:
                return "Pending", None  # why is told already
            if unsure := self._preflight():
                return "Pending", Condition("Ready", False, unsure.reason), unsure
        yield from self.children.ensure(self.wanted)
        if job and job.state is State.SUSPENDED and not job.queued and not job.deleting:
            yield resume(job)
        self.attempts.watch()
        phase, reason, said = "Pending", "Starting", job.said if job else ""
        if job and job.state is State.RUNNING:
            phase, reason, said = "Running", "Training", ""
            if trouble := self.seen.output.trouble:
                reason, said = "StoreUnread", trouble
        elif job and job.state is State.SUSPENDED:
            reason = "Queued"
            said = "the job waits to be admitted" if job.queued else "suspended by somebody; it goes on"
        return phase, Condition("Ready", False, reason, said), Condition("Preflight", True, "Passed")

    def _preflight(self) -> Condition | None:
        """What would have the job fail, seen before it begins; None where nothing is seen."""
        kept, output = self.seen.kept, self.seen.output
        if trouble := kept.trouble or output.trouble:
            return Condition("Preflight", None, "StoreUnread", trouble, alarming=True)
        found = kept.digests.get(PACK)
        if found != self.plan.digest:
            said = f"{self.plan.store} holds the corpus {found}, not {self.plan.digest} that the CorpusBuild made"
            return Condition("Preflight", False, "CorpusChanged", said, alarming=True)
        if kept.empty:
            said = f"the corpus in {self.plan.store} holds not one token; the funnel of the CorpusBuild tells why"
            return Condition("Preflight", False, "CorpusEmpty", said, alarming=True)
        if self.fields["contamination"] is None:  # it could not be told of the model when the corpus has moved
            said = f"{self.plan.store} does not tell what the corpus was cleaned of"
            return Condition("Preflight", None, "StoreUnread", said, alarming=True)
        if said := self.seen.unwritable:
            return Condition("Preflight", False, "OutputUnwritable", said, alarming=True)
        return None

    def _given_up(self, failure: Condition | None) -> Iterator[Action]:
        """A job that failed is left for whoever looks for why; one that hangs is not."""
        job, ready = self.job, None
        if failure:
            row = f"failure {self.fields['fruitless']} in a row that came no further than those before"
            most = f"That was {row}, and maxRestarts is {self.spec.max_restarts}."
            ready = Condition("Ready", False, "TooManyRestarts", f"{failure.message}\n{most}", alarming=True)
        yield from self._outcome("Failed", ready).write(self.seen.resource, self.now)
        if job and job.state is not State.FAILED:
            yield from self.children.stop()

    def _succeeded(self) -> Outcome:
        trained, job = self.seen.output.trained, self.job
        assert job
        if trained is None or trained.packed != self.plan.digest:
            lacks = f"{self.spec.out} holds no training of this corpus"
            said = self.seen.output.trouble or f"{lacks}\nDelete the {job.kind} {job.name} to train again."
            return self._outcome("Running", Condition("Ready", False, "StoreUnread", said, alarming=True))
        self.fields |= {
            "completionTime": timestamp(job.ended or self.now),
            "identity": trained.identity,
            "weights": trained.weights,
            "model": f"{self.spec.out.rstrip('/')}/{trained.kept}" if trained.kept else None,
            "loss": trained.final_loss,
            "moved": None,
        }
        return self._outcome("Succeeded", self._trained())

    def _trained(self) -> Condition:
        said = f"loss {self.fields['loss']:.3f}; the model is {model_of(self.fields, self.spec.out)}"
        return Condition("Ready", True, "Trained", said)

    def _retire(self) -> Iterator[Action]:
        """Deletes the job of a training that ended long enough ago."""
        ttl, ended = self.spec.ttl_seconds_after_finished, self.fields["completionTime"]
        if ttl is None or self.job is None:
            return
        left = moment(ended) + timedelta(seconds=ttl) - self.now
        if left > timedelta(0):
            yield Requeue(left.total_seconds())
        else:
            yield from self.children.stop()

    def _outcome(self, phase: str, ready: Condition | None, *more: Condition) -> Outcome:
        corpus = Condition("CorpusReady", True, "CorpusReady", f"the corpus is {self.plan.digest}")
        suspended = Condition("Suspended", False, "NotSuspended")
        conditions = {condition.type: condition for condition in (_ACCEPTED, corpus, suspended, *more)}
        return Outcome(phase, (*conditions.values(), *([ready] if ready else ())), self.fields)
