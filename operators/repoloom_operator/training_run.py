"""TrainingRun: waits for its corpus, trains, notices failures and hangs, and begins anew from the newest checkpoint."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from repoloom.errors import InputError
from repoloom.recipe.results import Evaluated, Trained
from repoloom.training.forms import Parallel, check_batches
from repoloom.training.progress import TrainingProgress
from repoloom_operator.actions import Action, AddFinalizer, Requeue
from repoloom_operator.children import Child, Children, State, work_of
from repoloom_operator.conditions import Condition, Outcome, holds
from repoloom_operator.corpus_build import PACK, Kept
from repoloom_operator.recipes import Checked, check
from repoloom_operator.resources import (
    FINALIZER,
    CorpusBuildSpec,
    Resource,
    TrainingRunSpec,
    camel,
    moment,
    timestamp,
)
from repoloom_operator.settings import Settings
from repoloom_operator.training_jobs import training_job

_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=10), timedelta(seconds=300)
"""Before a training that failed begins anew; twice as long each time."""


@dataclass(frozen=True)
class Output:
    """What the store says of a training."""

    progress: TrainingProgress | None = None
    trained: Trained | None = None
    evaluated: Evaluated | None = None
    trouble: str = ""  # why nothing can be said


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
    unwritable: str = ""  # why the output cannot be written; looked at before a job begins


@dataclass(frozen=True)
class Plan:
    """What is to be trained."""

    recipe: Checked
    digest: str  # of the corpus
    store: str  # where it lies
    work: str


class _Blocked(Exception):  # noqa: N818 - it is no error
    """What stands in the way."""

    def __init__(self, phase: str, *conditions: Condition) -> None:
        self.outcome = Outcome(phase, conditions, {})


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
        plan = _plan(seen)
    except _Blocked as blocked:
        yield from children.stop()
        yield from blocked.outcome.write(run, seen.now)
        if blocked.outcome.phase == "Pending":
            yield Requeue(seen.settings.look_seconds)
        return
    yield from _Training(seen, plan, children).steps()


def _plan(seen: Observed) -> Plan:
    run, corpus = seen.resource, seen.corpus
    if corpus is None:
        raise _waits("CorpusMissing", f"there is no CorpusBuild {run.spec.corpus_ref.name}")
    if run.spec.recipe is None and corpus.status.get("phase") == "Refused":
        raise _waits("CorpusRefused", f"the recipe of CorpusBuild {corpus.name} is refused")
    recipe = _checked(run.spec.recipe if run.spec.recipe is not None else corpus.spec.recipe)
    if not holds(corpus.status, "Ready") or corpus.status.get("observedGeneration") != corpus.generation:
        raise _waits("CorpusNotReady", f"CorpusBuild {corpus.name} is {corpus.status.get('phase', 'new')}")
    digest = corpus.status["digest"]
    length, packed = (
        content.recipe.section(PACK)["sequence_length"] for content in (recipe, _checked(corpus.spec.recipe))
    )
    if length != packed:
        raise _refused(f"sequence_length is {length}, and the corpus is packed in sequences of {packed}")
    _check_ranks(run.spec, recipe)
    work = work_of(recipe.identity, digest, run.spec.model_dump(mode="json", include=_DECISIVE))
    return Plan(recipe, digest, corpus.spec.store, work)


_DECISIVE = {"out", "workers", "processes_per_worker", "parallel", "resources", "active_deadline_seconds"}
"""What another job is needed for when it changes."""


def _check_ranks(spec: TrainingRunSpec, recipe: Checked) -> None:
    """Refuses what every rank would, when it has waited for its GPUs."""
    if spec.parallel not in tuple(Parallel):
        raise _refused(f"spec.parallel: {spec.parallel!r} is none of {', '.join(Parallel)}")
    ranks = spec.workers * spec.processes_per_worker
    if spec.parallel == Parallel.SINGLE and ranks > 1:
        raise _refused(f"spec.parallel: 'single' is one process, and {ranks} are asked for; zero1 lets them share")
    wanted = recipe.recipe
    for name, stage in (("train", wanted.train), ("extend", wanted.extend), ("instruct", wanted.instruct)):
        if stage:
            try:
                check_batches(stage.batch_size, stage.micro_batch_size, ranks)
            except InputError as error:
                raise _refused(f"spec.recipe.{name}: {error}") from None


def _checked(content: Any) -> Checked:  # noqa: ANN401
    try:
        recipe = check(content)
    except InputError as error:
        raise _refused(str(error)) from None
    if recipe.recipe.train is None:
        raise _refused("spec.recipe.train: this key is missing")
    return recipe


_ACCEPTED = Condition("Accepted", True, "RecipeChecked", "the recipe is one, and fits the corpus")


def _refused(said: str) -> _Blocked:
    idle = Condition("Ready", False, "RecipeRefused", "nothing runs; see the condition Accepted")
    return _Blocked("Refused", Condition("Accepted", False, "RecipeRefused", said, alarming=True), idle)


def _waits(reason: str, said: str) -> _Blocked:
    return _Blocked("Pending", Condition("CorpusReady", False, reason, said), Condition("Ready", False, reason))


class _Training:
    """A plan, and what is there of it."""

    def __init__(self, seen: Observed, plan: Plan, children: Children[TrainingRunSpec]) -> None:
        self.seen, self.plan, self.children = seen, plan, children
        run = seen.resource
        self.spec, self.now = run.spec, seen.now
        self.wanted = training_job(run, seen.settings, plan.recipe.content, plan.store, plan.work)
        self.job = children.current(self.wanted)
        kept = run.status if run.status.get("run") == plan.work else {}
        self.fields: dict[str, Any] = {
            "run": plan.work,
            "corpus": plan.digest,
            "restarts": kept.get("restarts", 0),
            **{name: kept.get(name) for name in ("counted", "failedAt", "moved", "progress", "startTime")},
            **{name: kept.get(name) for name in ("completionTime", "identity", "weights", "loss")},
        }
        self.finished = kept.get("phase") == "Succeeded"
        if (progress := seen.output.progress) and self.job and not self.finished:
            self.fields["progress"] = camel(progress.model_dump(mode="json"))
        if self.job and not self.fields["startTime"]:
            began = self.job.began or (self.now if self.job.state is State.RUNNING else None)
            self.fields["startTime"] = began and timestamp(began)

    def steps(self) -> Iterator[Action]:
        """What is to be done; the status is written before what it remembers is deleted."""
        run, job = self.seen.resource, self.job
        if self.finished:
            yield from self._outcome("Succeeded", None).write(run, self.now)
            yield from self._retire()
        elif job and job.state is State.SUCCEEDED and not job.deleting:
            yield from self._succeeded().write(run, self.now)
            yield Requeue(self.seen.settings.look_seconds)
        else:
            yield from self._unfinished()

    def _unfinished(self) -> Iterator[Action]:
        run, job, fields = self.seen.resource, self.job, self.fields
        failure = self._failure()
        if job and failure:
            fields |= {"counted": job.uid, "failedAt": timestamp(self.now), "moved": None}
            fields["restarts"] += 1
        if fields["restarts"] > self.spec.max_restarts:
            yield from self._given_up(failure)
        elif job and job.uid == fields["counted"]:
            yield from self._outcome("Restarting", failure).write(run, self.now)
            yield from self.children.stop()
        elif self.spec.suspend:
            fields["moved"] = None
            idle = Condition("Ready", False, "Suspended")
            kept = "the newest checkpoint is kept; going on starts from there"
            suspended = Condition("Suspended", True, "Suspended", kept)
            yield from self._outcome("Suspended", idle, suspended).write(run, self.now)
            yield from self.children.stop()
        else:
            phase, *conditions = yield from self._goes_on()
            yield from self._outcome(phase, *conditions).write(run, self.now)
            yield Requeue(self.seen.settings.look_seconds)

    def _goes_on(self) -> Generator[Action, None, tuple[str, Condition, *tuple[Condition, ...]]]:
        job = self.job
        if job is None:
            if any(child.is_job for child in self.children.found):
                yield from self.children.stop()
                return "Pending", Condition("Ready", False, "Replacing", "pods of a former job are still there")
            if (begins := self._rested()) > self.now:
                return "Pending", Condition("Ready", False, "Resting", f"begins anew at {timestamp(begins)}")
            if unsure := self._preflight():
                return "Pending", Condition("Ready", False, unsure.reason), unsure
        yield from self.children.ensure(self.wanted)
        self._watch()
        phase, reason, said = "Pending", "Starting", job.said if job else ""
        if job and job.state is State.RUNNING:
            phase, reason, said = "Running", "Training", self.seen.output.trouble
        elif job and job.state is State.SUSPENDED:
            reason, said = "Queued", "the job waits to be admitted"
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
        if said := self.seen.unwritable:
            return Condition("Preflight", False, "OutputUnwritable", said, alarming=True)
        return None

    def _watch(self) -> None:
        """Notes when the step last moved, in this very job."""
        job, output = self.job, self.seen.output
        if job is None or job.state is not State.RUNNING:
            self.fields["moved"] = None
            return
        moved = self.fields["moved"]
        step = output.progress.step if output.progress else 0
        if moved is None or moved["job"] != job.uid or moved["step"] != step or output.trouble:
            self.fields["moved"] = {"job": job.uid, "step": step, "time": timestamp(self.now)}

    def _failure(self) -> Condition | None:
        """Why the job is to be replaced, where that is news."""
        job = self.job
        if job is None or job.deleting or job.uid == self.fields["counted"]:
            return None
        if job.state is State.FAILED:
            said = job.said or job.verdict or "a worker failed and said nothing"
            return Condition("Ready", False, "WorkerFailed", said, alarming=True)
        if job.state is State.RUNNING and not self.spec.suspend:
            self._watch()
            still = self.now - moment(self.fields["moved"]["time"])
            if still > timedelta(seconds=self.spec.hang_seconds):
                said = f"step {self.fields['moved']['step']} has not moved for {still.total_seconds():.0f} s"
                return Condition("Ready", False, "Hung", said, alarming=True)
        return None

    def _given_up(self, failure: Condition | None) -> Iterator[Action]:
        """A job that failed is left for whoever looks for why; one that hangs is not."""
        job, ready = self.job, None
        if failure:
            most = f"That was failure {self.fields['restarts']}, and maxRestarts is {self.spec.max_restarts}."
            ready = Condition("Ready", False, "TooManyRestarts", f"{failure.message}\n{most}", alarming=True)
        yield from self._outcome("Failed", ready).write(self.seen.resource, self.now)
        if job and job.state is not State.FAILED:
            yield from self.children.stop()

    def _rested(self) -> datetime:
        """When to begin anew, after the failures so far."""
        if not self.fields["failedAt"]:
            return self.now
        restarts: int = self.fields["restarts"]
        wait = min(_LONGEST_WAIT, _FIRST_WAIT * (1 << min(restarts, 10) - 1))
        return moment(self.fields["failedAt"]) + wait

    def _succeeded(self) -> Outcome:
        trained, job = self.seen.output.trained, self.job
        assert job
        if trained is None or trained.packed != self.plan.digest:
            said = self.seen.output.trouble or f"{self.spec.out} holds no training of this corpus"
            return self._outcome("Running", Condition("Ready", False, "StoreUnread", said, alarming=True))
        self.fields |= {
            "completionTime": timestamp(job.ended or self.now),
            "identity": trained.identity,
            "weights": trained.weights,
            "loss": trained.final_loss,
            "moved": None,
        }
        said = f"{trained.steps} steps, loss {trained.final_loss:.3f}; the model is {self.spec.out}/model"
        return self._outcome("Succeeded", Condition("Ready", True, "Trained", said))

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
