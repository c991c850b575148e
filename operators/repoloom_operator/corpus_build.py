"""CorpusBuild: a recipe's data path as a Job, which writes where it stands to the store."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from repoloom.errors import InputError
from repoloom.recipe.progress import Progress
from repoloom_operator import runners
from repoloom_operator.actions import Action, AddFinalizer, Patch, Requeue
from repoloom_operator.children import Child, Children, State, Wanted, work_of
from repoloom_operator.conditions import Condition, Outcome
from repoloom_operator.recipes import Checked, check
from repoloom_operator.resources import FINALIZER, CorpusBuildSpec, Resource, camel, timestamp
from repoloom_operator.settings import Settings


@dataclass(frozen=True)
class Passage:
    """What a step did to what entered it, in files, or (from tokenization on) in pieces."""

    step: str
    entering: int
    kept: int
    quarantined: int
    dropped: Mapping[str, int]  # by rule


@dataclass(frozen=True)
class Kept:
    """What the store says of a run."""

    progress: Progress | None = None
    digests: Mapping[str, str] = field(default_factory=dict)  # of the datasets of the run, by step
    funnel: Sequence[Passage] = ()
    benchmarks: Sequence[str] = ()  # that its decontamination looked for
    recipe: str = ""  # identity of what the record is of
    trouble: str = ""  # why nothing can be said

    def of(self, recipe: str) -> "Kept":
        """What of it is of that recipe: a former one's run may still stand there."""
        progress = self.progress if self.progress and self.progress.recipe == recipe else None
        return replace(self, progress=progress) if self.recipe == recipe else Kept(progress, trouble=self.trouble)


@dataclass(frozen=True)
class Observed:
    """All that decides what is to be done."""

    now: datetime
    settings: Settings
    resource: Resource[CorpusBuildSpec]
    children: Sequence[Child]
    kept: Kept


PACK = "pack"
"""The step whose dataset is the corpus: its digest covers all that was made before it."""


def reconcile(seen: Observed) -> Iterator[Action]:
    """The next steps towards what the resource wants; none where all is as it should be."""
    build = seen.resource
    children = Children(build, seen.children)
    if build.deleting:
        if FINALIZER in build.finalizers:
            yield from children.end()
        return
    if FINALIZER not in build.finalizers:
        yield AddFinalizer()
        return
    try:
        recipe = check(build.spec.recipe)
    except InputError as error:
        yield from children.stop()
        yield from _refused(str(error)).write(build, seen.now)
        return
    if build.status.get("phase") == "Ready" and build.status.get("recipe") == recipe.identity:
        yield from Outcome("Ready", (ACCEPTED,), _fields(build.status)).write(build, seen.now)
        return
    wanted = wanted_job(seen, recipe)
    yield from children.ensure(wanted)
    job = children.current(wanted)
    if job and not job.deleting and not job.finished and job.suspended != build.spec.suspend:
        yield Patch("Job", job.name, {"spec": {"suspend": build.spec.suspend}})
    outcome = _outcome(seen, recipe, job)
    yield from outcome.write(build, seen.now)
    if outcome.phase not in ("Ready", "Failed", "Suspended"):
        yield Requeue(seen.settings.look_seconds)


def wanted_job(seen: Observed, recipe: Checked) -> Wanted:
    """The Job of a build. Its work is the recipe alone: a running one is not restarted for another image."""
    build = seen.resource
    command = ["repoloom", "run", runners.RECIPE_FILE, "--out", "/tmp/run", "--store", build.spec.store]  # noqa: S108
    command += ["--engine", "celery", "--until", PACK, "--json"]
    return runners.job(
        build,
        seen.settings,
        recipe.content,
        work_of(recipe.identity, build.spec.store),
        name="corpus",
        pods=seen.settings.data,
        image=seen.settings.images.repoloom,
        command=command,
        suspend=build.spec.suspend,
    )


ACCEPTED = Condition("Accepted", True, "RecipeChecked", "the recipe is one")


def _refused(said: str) -> Outcome:
    conditions = (
        Condition("Accepted", False, "RecipeRefused", said, alarming=True),
        Condition("Ready", False, "RecipeRefused", "nothing runs; see the condition Accepted"),
    )
    return Outcome("Refused", conditions, {})


_FIELDS = ("recipe", "progress", "funnel", "digest", "startTime", "completionTime")


def _fields(status: Mapping[str, Any]) -> dict[str, Any]:
    return {name: status.get(name) for name in _FIELDS}


def _outcome(seen: Observed, recipe: Checked, job: Child | None) -> Outcome:
    kept = seen.kept.of(recipe.identity)
    progress = kept.progress
    fields = {
        "recipe": recipe.identity,
        "progress": _progress(progress) if progress else None,
        "funnel": [vars(passage) for passage in kept.funnel] or None,
        "startTime": timestamp(job.began) if job and job.began else seen.resource.status.get("startTime"),
    }
    suspended = Condition("Suspended", False, "NotSuspended")

    def ends(phase: str, ready: Condition, *more: Condition) -> Outcome:
        return Outcome(phase, (ACCEPTED, suspended, *more, ready), fields)

    if job is None or job.deleting:
        waits = "a Job is made as soon as no pod of a former one is left"
        return ends("Pending", Condition("Ready", False, "Starting", waits))
    if job.state is State.SUCCEEDED or (job.state is State.FAILED and progress and progress.state == "done"):
        digest = kept.digests.get(PACK)
        if progress is None or digest is None:
            unread = kept.trouble or "the store does not hold the run's record"
            return ends("Running", Condition("Ready", False, "StoreUnread", unread, alarming=True))
        fields |= {"digest": digest, "completionTime": timestamp(job.ended or seen.now)}
        whole = Condition("Whole", True, "NothingGivenUp")
        if progress.quarantined:
            lost = f"{progress.quarantined} tasks are quarantined; `repoloom retry` and another build try them anew"
            whole = Condition("Whole", False, "Quarantined", lost, alarming=True)
        return ends("Ready", Condition("Ready", True, "Built", f"the corpus is {digest}"), whole)
    if job.state is State.FAILED:
        said = job.said or (progress.message if progress else "") or "its pod failed and said nothing"
        way_out = f"{said}\nDelete the Job {job.name} to try again: what is committed is kept."
        return ends("Failed", Condition("Ready", False, "RunFailed", way_out, alarming=True))
    if seen.resource.spec.suspend:
        suspended = Condition("Suspended", True, "Suspended", "what is committed is kept; going on starts from there")
        return ends("Suspended", Condition("Ready", False, "Suspended"))
    if job.state is State.RUNNING:
        return ends("Running", Condition("Ready", False, "Building", kept.trouble))
    return ends("Pending", Condition("Ready", False, "Starting", job.said))


def _progress(progress: Progress) -> dict[str, Any]:
    return camel(progress.model_dump(mode="json", exclude={"recipe", "message"}))
