"""TrainingRun: waits for its corpus, trains, notices failures and hangs, and begins anew from the newest checkpoint."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from repoloom.errors import InputError
from repoloom.recipe.results import Evaluated, StageName, Trained
from repoloom.training.forms import Parallel, check_batches
from repoloom.training.progress import TrainingProgress
from repoloom_operator.actions import Action, AddFinalizer, Create, Requeue
from repoloom_operator.children import JOB_KINDS, Child, Children, State, work_of
from repoloom_operator.conditions import Condition, Outcome, fields, holds
from repoloom_operator.corpus_build import HELDOUT, PACK, Kept
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
from repoloom_operator.training_jobs import resume, training_job

_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=10), timedelta(seconds=300)
"""Before a training that failed begins anew; twice as long each time."""

_FIRST_PLACING, _LONGEST_PLACING = timedelta(seconds=60), timedelta(seconds=900)
"""The same where pods found no place, times one to two: those of others need some seconds to find theirs."""


@dataclass(frozen=True)
class Output:
    """What the store says of a training."""

    progress: TrainingProgress | None = None
    trained: Trained | None = None
    evaluated: Evaluated | None = None
    trouble: str = ""  # why nothing can be said


@dataclass(frozen=True)
class Rival:
    """Another TrainingRun of the same output."""

    name: str  # with its namespace
    older: bool
    at_work: bool  # pods of it may write, or what they wrote is not recorded yet
    begins: bool  # as soon as it can


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


@dataclass(frozen=True)
class Plan:
    """What is to be trained."""

    recipe: Checked
    digest: str  # of the corpus
    store: str  # where it lies
    work: str


class _Blocked(Exception):  # noqa: N818 - it is no error
    """What stands in the way."""

    def __init__(self, phase: str, *conditions: Condition, stops: bool = True) -> None:
        self.phase = phase
        self.conditions = (*conditions, Condition("Preflight", None, "NotLookedAt"))
        self.stops = stops  # a training that is under way


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
        yield from _blocked(blocked, run, children, seen.now)
        return
    yield from _Training(seen, plan, children).steps()


def begins(seen: Observed) -> bool:
    """Whether a job is about to begin."""
    return any(isinstance(action, Create) and action.manifest["kind"] in JOB_KINDS for action in reconcile(seen))


def is_at_work(run: Resource[TrainingRunSpec], job: Child) -> bool:
    """Whether a run's output is that of this job still: its pods may write, or its model is not in the status yet."""
    recorded = "weights" in run.status and run.status.get("run") == job.work
    return job.deleting or not job.finished or (job.state is State.SUCCEEDED and not recorded)


def is_to_begin(run: Resource[TrainingRunSpec]) -> bool:
    """Whether a run that has no job gets one before long, as far as its status tells."""
    if run.status.get("observedGeneration") != run.generation:
        return not run.deleting
    held = any(
        entry["reason"] in _HELD or (entry["type"] in ("CorpusReady", "Preflight") and entry["status"] == "False")
        for entry in run.status.get("conditions", ())
    )
    return not run.deleting and not held and run.status["phase"] in ("Pending", "Running", "Restarting")


_HELD = ("StoreUnread", "CreateRefused", "NameTaken")
"""Why a run gets no job for now, besides what its corpus and its preflight say."""


def _blocked(
    blocked: _Blocked, run: Resource[TrainingRunSpec], children: Children[TrainingRunSpec], now: datetime
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


def _plan(seen: Observed) -> Plan:
    """What the corpus that is ready asks for. While none is, a run goes on with the one that it began with."""
    run, corpus = seen.resource, seen.corpus
    named = run.spec.corpus_ref
    if rival := _writes(seen):
        does = "writes" if rival.at_work else "is older and about to write"
        said = f"TrainingRun {rival.name} {does} to {run.spec.out}; this one begins when that has ended"
        raise _Blocked("Pending", Condition("Ready", False, "OutputTaken", said, alarming=True))
    if corpus is None:
        raise _waits("CorpusMissing", f"there is no CorpusBuild {named.name}", stops=False)
    if run.spec.recipe is None and corpus.status.get("phase") == "Refused":
        raise _waits("CorpusRefused", f"the recipe of CorpusBuild {corpus.name} is refused")
    recipe = _checked(run.spec.recipe if run.spec.recipe is not None else corpus.spec.recipe)
    ready = holds(corpus.status, "Ready") and corpus.status.get("observedGeneration") == corpus.generation
    digest = corpus.status["digest"] if ready else run.status.get("corpus", "")
    work = work_of(recipe.identity, digest, run.spec.model_dump(mode="json", include=_DECISIVE))
    if not ready and work != run.status.get("run"):
        raise _waits("CorpusNotReady", f"CorpusBuild {corpus.name} is {corpus.status.get('phase', 'new')}")
    if named.digest not in (None, digest):
        raise _waits("CorpusChanged", f"CorpusBuild {corpus.name} made {digest}, and {named.digest} is wanted")
    if ready:
        _check_fits(recipe, _checked(corpus.spec.recipe))
    _check_ranks(run.spec, recipe)
    return Plan(recipe, digest, corpus.spec.store, work)


def _writes(seen: Observed) -> Rival | None:
    """Who has the output: of runs that wait for it the oldest, and whoever is at work goes on.

    A job that has succeeded is in nobody's way, and what it made is to be recorded.
    """
    if any(child.state is State.SUCCEEDED and not child.deleting for child in seen.children):
        return None
    begun = any(child.is_job for child in seen.children)
    for rival in seen.rivals:
        if rival.at_work and (rival.older or not begun):
            return rival
    return next((rival for rival in seen.rivals if rival.older and rival.begins and not begun), None)


_DECISIVE = {"out", "workers", "processes_per_worker", "parallel", "resources", "active_deadline_seconds"}
"""What another job is needed for when it changes."""


def _check_fits(recipe: Checked, corpus: Checked) -> None:
    length, packed = (each.recipe.section(PACK)["sequence_length"] for each in (recipe, corpus))
    if length != packed:
        raise _refused(f"sequence_length is {length}, and the corpus is packed in sequences of {packed}")


def _check_ranks(spec: TrainingRunSpec, recipe: Checked) -> None:
    """Refuses what every rank would, when it has waited for its GPUs."""
    if spec.parallel not in tuple(Parallel):
        raise _refused(f"spec.parallel: {spec.parallel!r} is none of {', '.join(Parallel)}")
    ranks = spec.workers * spec.processes_per_worker
    if spec.parallel == Parallel.SINGLE and ranks > 1:
        raise _refused(f"spec.parallel: 'single' is one process, and {ranks} are asked for; zero1 lets them share")
    wanted = recipe.recipe
    if wanted.train is None:
        raise _refused("spec.recipe.train: this key is missing")
    for name, stage in (("train", wanted.train), ("extend", wanted.extend), ("instruct", wanted.instruct)):
        if stage:
            try:
                check_batches(stage.batch_size, stage.micro_batch_size, ranks)
            except InputError as error:
                raise _refused(f"spec.recipe.{name}: {error}") from None


def _checked(content: Any) -> Checked:  # noqa: ANN401
    try:
        return check(content)
    except InputError as error:
        raise _refused(str(error)) from None


_ACCEPTED = Condition("Accepted", True, "RecipeChecked", "the recipe is valid, and fits the corpus")


def _refused(said: str) -> _Blocked:
    idle = Condition("Ready", False, "RecipeRefused", "nothing runs; see the condition Accepted")
    return _Blocked("Refused", Condition("Accepted", False, "RecipeRefused", said, alarming=True), idle)


def _waits(reason: str, said: str, *, stops: bool = True) -> _Blocked:
    missing, idle = (Condition(what, False, reason, said) for what in ("CorpusReady", "Ready"))
    return _Blocked("Pending", missing, idle, stops=stops)


Place: TypeAlias = tuple[int, int]
"""How far a training is: in which of its stages, and at which step of it."""


def _place(progress: Mapping[str, Any] | None) -> Place:
    """The place of a status' progress."""
    stages, stage = [*StageName], (progress or {}).get("stage", "")
    return stages.index(stage) if stage in stages else 0, (progress or {}).get("step", 0)


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
            **{name: kept.get(name) for name in ("completionTime", "identity", "weights", "loss")},
            **{name: told.get(name) for name in ("heldout", "contamination")},
        }
        if seen.kept.contamination is not None and seen.kept.digests.get(PACK) == plan.digest:
            found = [{"benchmark": name, "hits": hits} for name, hits in seen.kept.contamination.items()]
            self.fields |= {"heldout": seen.kept.digests[HELDOUT], "contamination": found}
        self.finished = "weights" in kept
        if (progress := seen.output.progress) and self.job and not self.finished:
            self.fields["progress"] = camel(progress.model_dump(mode="json", exclude={"state", "run"}))
            if _place(self.fields["progress"]) > _place(self.fields["furthest"]):
                self.fields |= {"fruitless": 0, "failedAt": None}
        if self.job and not self.fields["startTime"]:
            began = self.job.began or (self.now if self.job.state is State.RUNNING else None)
            self.fields["startTime"] = began and timestamp(began)

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
        run, job, fields = self.seen.resource, self.job, self.fields
        failure = self._failure()
        if job and failure:
            fields |= {"counted": job.uid, "failedAt": timestamp(self.now), "moved": None}
            fields["restarts"] += 1
            fields["fruitless"] += 1
            fields["furthest"] = self._furthest()
        elif job and (failure := self._unplaced()):
            fields["counted"] = job.uid
        if fields["fruitless"] > self.spec.max_restarts:
            yield from self._given_up(failure)
        elif job and job.uid == fields["counted"]:
            yield from self._outcome("Restarting", failure).write(run, self.now)
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
            if (begins := self._rested()) > self.now:
                return "Pending", Condition("Ready", False, "Resting", f"begins anew at {timestamp(begins)}")
            if self._placeable() > self.now:
                return "Pending", None  # why is told already
            if unsure := self._preflight():
                return "Pending", Condition("Ready", False, unsure.reason), unsure
        yield from self.children.ensure(self.wanted)
        if job and job.state is State.SUSPENDED and not job.queued and not job.deleting:
            yield resume(job)
        self._watch()
        phase, reason, said = "Pending", "Starting", job.said if job else ""
        if job and job.state is State.RUNNING:
            phase, reason, said = "Running", "Training", self.seen.output.trouble
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
        if self.fields["contamination"] is None:  # it could not be told of the model when the corpus has moved
            said = f"{self.plan.store} does not tell what the corpus was cleaned of"
            return Condition("Preflight", None, "StoreUnread", said, alarming=True)
        if said := self.seen.unwritable:
            return Condition("Preflight", False, "OutputUnwritable", said, alarming=True)
        return None

    def _watch(self) -> None:
        """Notes when the step last moved, or what comes before the first one, in this very job."""
        job, output = self.job, self.seen.output
        if job is None or job.state is not State.RUNNING:
            self.fields["moved"] = None
            return
        moved = self.fields["moved"]
        at = output.progress
        place = {"job": job.uid, "stage": at.stage if at else "", "step": at.step if at else 0}
        place["prepared"] = at.prepared if at else 0
        if moved is None or output.trouble or place != {name: moved.get(name, 0) for name in place}:
            self.fields["moved"] = {**place, "time": timestamp(self.now)}

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
            moved = self.fields["moved"]
            still = self.now - moment(moved["time"])
            if still > timedelta(seconds=self.spec.hang_seconds):
                step = f"step {moved['step']}" + (f" of {moved['stage']}" if moved["stage"] else "")
                said = f"{step} has not moved for {still.total_seconds():.0f} s"
                return Condition("Ready", False, "Hung", said, alarming=True)
        return None

    def _unplaced(self) -> Condition | None:
        """Why the job is given up for a while where not all of its pods have begun: two of which each got some of its
        pods would wait for each other else. It is no failure.
        """
        job, placing = self.job, self.fields["placing"] or {}
        if job is None or job.deleting or job.uid == self.fields["counted"] or self.spec.suspend:
            return None
        before = {name: placing[name] for name in ("tries", "givenUp") if name in placing}
        if job.state is not State.WAITING:
            self.fields["placing"] = (before or None) if job.state is State.SUSPENDED else None
            return None
        if placing.get("job") != job.uid:
            self.fields["placing"] = {**before, "job": job.uid, "since": timestamp(self.now)}
            return None
        waited = self.now - moment(placing["since"])
        if waited <= timedelta(seconds=self.spec.hang_seconds):
            return None
        self.fields["placing"] = {"tries": before.get("tries", 0) + 1, "givenUp": timestamp(self.now)}
        said = f"not all pods have begun for {waited.total_seconds():.0f} s"
        said += f"; others may have their place until {timestamp(self._placeable())}"
        return Condition("Ready", False, "NotScheduled", f"{job.said}\n{said}".strip(), alarming=True)

    def _placeable(self) -> datetime:
        """When to try again after jobs whose pods have not all begun: longer each time, and no two runs in step."""
        placing = self.fields["placing"] or {}
        if "givenUp" not in placing:
            return self.now
        tries: int = placing["tries"]
        wait = min(_LONGEST_PLACING, _FIRST_PLACING * (1 << min(tries, 10) - 1))
        return moment(placing["givenUp"]) + wait * (1 + int(work_of(self.seen.resource.uid, tries), 16) / (1 << 64))

    def _furthest(self) -> Mapping[str, Any]:
        best: Mapping[str, Any] = max(self.fields["furthest"] or {}, self.fields["progress"] or {}, key=_place)
        return {name: best[name] for name in ("stage", "step") if name in best}

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

    def _rested(self) -> datetime:
        """When to begin anew, after the failures so far."""
        if not self.fields["failedAt"]:
            return self.now
        fruitless: int = self.fields["fruitless"]
        wait = min(_LONGEST_WAIT, _FIRST_WAIT * (1 << min(fruitless, 10) - 1))
        return moment(self.fields["failedAt"]) + wait

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
            "loss": trained.final_loss,
            "moved": None,
        }
        return self._outcome("Succeeded", self._trained())

    def _trained(self) -> Condition:
        said = f"loss {self.fields['loss']:.3f}; the model is {self.spec.out}/model"
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
