"""CorpusBuild: a recipe's data path as a Job, which writes where it stands to the store."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from repoloom.errors import InputError
from repoloom.recipe.progress import Progress
from repoloom_operator import runners
from repoloom_operator.actions import Action, AddFinalizer, Emit, Patch, Requeue
from repoloom_operator.children import Child, Children, State, Wanted, work_of
from repoloom_operator.conditions import Condition, Outcome, fields
from repoloom_operator.recipes import Checked, check
from repoloom_operator.resources import FINALIZER, CorpusBuildSpec, Resource, camel, timestamp
from repoloom_operator.rivals import Rival, builder
from repoloom_operator.settings import Settings
from repoloom_operator.store_roots import outside


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
    recipe: str = ""  # identity of what the record is of
    contamination: Mapping[str, int] | None = None  # texts of each benchmark that the corpus was cleaned of, if asked
    trouble: str = ""  # why nothing can be said

    @property
    def empty(self) -> bool:
        """Whether there is a corpus, of nothing."""
        return PACK in self.digests and not any(passage.step == PACK and passage.kept for passage in self.funnel)

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
    rivals: Sequence[Rival]


_AT_REST = 60
"""Seconds between two looks at what nothing is done for: others write to the store, and delete a Job that failed."""

PACK, HELDOUT = "pack", "split.heldout"
"""The steps whose datasets are the corpus, its digest covering all that was made before it, and what models are
measured on.
"""


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
    recipe = _accepted(seen)
    if isinstance(recipe, Condition):
        yield from children.stop()
        idle = Condition("Ready", False, recipe.reason, "nothing runs; see the condition Accepted")
        yield from Outcome("Refused", (recipe, idle), fields(build.status)).write(build, seen.now)
        return
    if build.spec.digest:
        yield from children.stop()
        held = _held(seen, recipe, build.spec.digest)
        yield from held.write(build, seen.now)
        yield Requeue(None if held.phase == "Pending" else _AT_REST)
        return
    if rival := builder(seen.rivals, children.found):
        yield from children.stop()
        yield from _taken(rival).write(build, seen.now)
        yield Requeue()
        return
    if build.status.get("recipe") == recipe.identity and "digest" in build.status:
        yield from _built(seen, seen.kept.of(recipe.identity))
        yield Requeue(_AT_REST)
        return
    wanted = wanted_job(seen, recipe)
    yield from children.ensure(wanted)
    job = children.current(wanted)
    if job and not job.deleting and not job.finished and job.suspended != build.spec.suspend:
        yield Patch("Job", job.name, {"spec": {"suspend": build.spec.suspend}})
    outcome = _outcome(seen, recipe, job)
    yield from outcome.write(build, seen.now)
    yield Requeue(_AT_REST if outcome.phase in ("Ready", "Failed", "Suspended") else None)


def wanted_job(seen: Observed, recipe: Checked) -> Wanted:
    """The Job of a build, and of an image: the workers of another are of another build, and would not serve it."""
    build, image = seen.resource, seen.settings.images.repoloom
    command = ["repoloom", "run", runners.RECIPE_FILE, "--out", "/tmp/run", "--store", build.spec.store]  # noqa: S108
    command += ["--engine", "celery", "--until", PACK, "--json"]
    return runners.job(
        build,
        seen.settings,
        recipe.content,
        work_of(recipe.identity, build.spec.store, image),
        name="corpus",
        pods=seen.settings.data,
        image=image,
        command=command,
        suspend=build.spec.suspend,
    )


ACCEPTED = Condition("Accepted", True, "RecipeChecked", "the recipe is valid")
_GOES_ON = Condition("Suspended", False, "NotSuspended")


def _accepted(seen: Observed) -> Checked | Condition:
    """The recipe, or why nothing is done for it."""
    spec = seen.resource.spec
    if refused := outside("spec.store", spec.store, seen.settings.store_roots):
        return refused
    try:
        return check(spec.recipe)
    except InputError as error:
        return Condition("Accepted", False, "RecipeRefused", str(error), alarming=True)


def _taken(rival: Rival) -> Outcome:
    """Nothing of a former status is kept: once the store is free, what is there has to be looked at anew."""
    ways = "give another spec.store, spec.digest to wait for what is built there, or delete one of the two"
    said = f"CorpusBuild {rival.name} builds at {rival.out}, and began before or still writes: {ways}"
    return Outcome("Pending", (ACCEPTED, _GOES_ON, Condition("Ready", False, "StoreTaken", said, alarming=True)), {})


def _held(seen: Observed, recipe: Checked, wanted: str) -> Outcome:
    """Whether the store holds the corpus that others have made there by the recipe."""
    build, kept = seen.resource, seen.kept.of(recipe.identity)
    found = seen.kept.digests.get(PACK)
    was = build.status.get("recipe") == recipe.identity and build.status.get("digest") == wanted
    former = fields(build.status) if was else {"recipe": recipe.identity}
    if found is None and was:  # a run is at work, or nothing is read
        return _ready(former)
    if found == wanted == kept.digests.get(PACK):
        since = former.get("completionTime", timestamp(seen.now))
        made = {**former, **_told(kept), "digest": wanted, "completionTime": since}
        return _ready(made, _whole(kept))
    phase, reason, said = _lacks(seen, wanted, found)
    told = {"recipe": recipe.identity, **(_told(kept) if found is None else {})}
    return Outcome(phase, (ACCEPTED, _GOES_ON, Condition("Ready", False, reason, said, alarming=True)), told)


def _lacks(seen: Observed, wanted: str, found: str | None) -> tuple[str, str, str]:
    """Phase, reason and words of a build whose corpus the store does not hold."""
    store = seen.resource.spec.store
    if trouble := seen.kept.trouble:
        return "Pending", "StoreUnread", trouble
    if found is None:
        said = f"{store} holds no corpus: a run is at work there, has failed, or is to begin; {wanted} is waited for"
        return "Pending", "CorpusMissing", said
    if found == wanted:
        said = f"{store} holds {wanted} as another recipe made it; give spec.recipe the one of {store}/run.json"
        return "Failed", "RecipeChanged", said
    ways = "give spec.digest that one, or make the other anew; without spec.digest a corpus is built"
    return "Pending", "CorpusChanged", f"{store} holds the corpus {found}, and {wanted} is wanted; {ways}"


def _built(seen: Observed, kept: Kept) -> Iterator[Action]:
    """A corpus that is there. Another run of its recipe may have made another since, from sources that have moved.

    A pipeline's stages are such a run, and keep no progress.
    """
    build, progress = seen.resource, kept.progress
    former = fields(build.status)
    digest = kept.digests.get(PACK)
    if digest is None or (progress and progress.state != "done"):  # a run is at work, or nothing is read
        yield from _ready(former).write(build, seen.now)
        return
    moved = digest != former["digest"]
    if moved:
        former["completionTime"] = timestamp(seen.now)
    yield from _ready({**former, **_told(kept), "digest": digest}, _whole(kept)).write(build, seen.now)
    if moved:
        said = f"another run of the recipe made {digest} in place of {build.status['digest']}"
        yield Emit("Normal", "TakenOver", said)


def _ready(fields: Mapping[str, Any], *more: Condition) -> Outcome:
    ready = Condition("Ready", True, "Built", f"the corpus is {fields['digest']}")
    return Outcome("Ready", (ACCEPTED, _GOES_ON, *more, ready), fields)


def _whole(kept: Kept) -> Condition:
    progress = kept.progress
    if kept.empty:
        nothing = "not one token is left to train on; status.funnel tells which step dropped the last"
        return Condition("Whole", False, "Empty", nothing, alarming=True)
    if progress is None:
        return Condition("Whole", None, "NotTold")
    if progress.quarantined:
        lost = f"{progress.quarantined} tasks are quarantined; `repoloom retry` and another build try them anew"
        return Condition("Whole", False, "Quarantined", lost, alarming=True)
    return Condition("Whole", True, "NothingGivenUp")


def _told(kept: Kept) -> dict[str, Any]:
    """What a status says of the run in the store."""
    return {
        "progress": _progress(kept.progress) if kept.progress else None,
        "funnel": [vars(passage) for passage in kept.funnel] or None,
    }


def _outcome(seen: Observed, recipe: Checked, job: Child | None) -> Outcome:
    kept = seen.kept.of(recipe.identity)
    progress = kept.progress
    told = {
        "recipe": recipe.identity,
        **_told(kept),
        "startTime": timestamp(job.began) if job and job.began else seen.resource.status.get("startTime"),
    }
    suspended = _GOES_ON

    def ends(phase: str, ready: Condition) -> Outcome:
        return Outcome(phase, (ACCEPTED, suspended, ready), told)

    if job is None or job.deleting:
        waits = "a Job is made as soon as no pod of a former one is left"
        return ends("Pending", Condition("Ready", False, "Starting", waits))
    if job.state is State.SUCCEEDED or (job.state is State.FAILED and progress and progress.state == "done"):
        digest = kept.digests.get(PACK)
        if progress is None or digest is None:
            unread = kept.trouble or "the store does not hold the run's record"
            return ends("Running", Condition("Ready", False, "StoreUnread", unread, alarming=True))
        told |= {"digest": digest, "completionTime": timestamp(job.ended or seen.now)}
        return _ready(told, _whole(kept))
    if job.state is State.FAILED:
        said = job.said or (progress.message if progress else "") or "its pod failed and said nothing"
        way_out = f"{said}\nDelete the Job {job.name} to try again: what is committed is kept."
        return ends("Failed", Condition("Ready", False, "RunFailed", way_out, alarming=True))
    if seen.resource.spec.suspend:
        suspended = Condition("Suspended", True, "Suspended", "what is committed is kept; going on starts from there")
        return ends("Suspended", Condition("Ready", False, "Suspended"))
    phase, reason = ("Running", "Building") if job.state is State.RUNNING else ("Pending", "Starting")
    if kept.trouble:
        return ends(phase, Condition("Ready", False, "StoreUnread", f"{job.said}\n{kept.trouble}".strip()))
    return ends(phase, Condition("Ready", False, reason, job.said))


def _progress(progress: Progress) -> dict[str, Any]:
    return camel(progress.model_dump(mode="json", exclude={"recipe", "message"}))
