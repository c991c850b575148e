"""What a TrainingRun is to train, of what corpus; or what stands in the way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from repoloom.errors import InputError
from repoloom.training.forms import Parallel, check_batches
from repoloom_operator.children import work_of
from repoloom_operator.conditions import Condition, holds
from repoloom_operator.corpus_build import PACK
from repoloom_operator.recipes import Checked, check
from repoloom_operator.resources import CorpusBuildSpec, Resource, TrainingRunSpec
from repoloom_operator.rivals import Rival
from repoloom_operator.store_roots import outside


@dataclass(frozen=True)
class Plan:
    """What is to be trained."""

    recipe: Checked
    digest: str  # of the corpus
    store: str  # where it lies
    work: str


class Blocked(Exception):  # noqa: N818 - it is no error
    """What stands in the way."""

    def __init__(self, phase: str, *conditions: Condition, stops: bool = True) -> None:
        self.phase = phase
        self.conditions = (*conditions, Condition("Preflight", None, "NotLookedAt"))
        self.stops = stops  # a training that is under way


def plan_of(
    run: Resource[TrainingRunSpec],
    corpus: Resource[CorpusBuildSpec] | None,
    rival: Rival | None,
    roots: Sequence[str],
) -> Plan:
    """What the corpus that is ready asks for. While none is, a run goes on with the one that it began with.

    Raises Blocked, above all where the output lies below none of the `roots`, or a rival has it.
    """
    named = run.spec.corpus_ref
    if refused := outside("spec.out", run.spec.out, roots):
        raise _refusal(refused)
    if rival:
        does = "writes" if rival.at_work else "is older and about to write"
        said = f"TrainingRun {rival.name} {does} to {rival.out}; this one begins when that has ended"
        raise Blocked("Pending", Condition("Ready", False, "OutputTaken", said, alarming=True))
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


def _refused(said: str) -> Blocked:
    return _refusal(Condition("Accepted", False, "RecipeRefused", said, alarming=True))


def _refusal(accepted: Condition) -> Blocked:
    idle = Condition("Ready", False, accepted.reason, "nothing runs; see the condition Accepted")
    return Blocked("Refused", accepted, idle)


def _waits(reason: str, said: str, *, stops: bool = True) -> Blocked:
    missing, idle = (Condition(what, False, reason, said) for what in ("CorpusReady", "Ready"))
    return Blocked("Pending", missing, idle, stops=stops)
