"""ModelRelease: measures a training's model, lets it through the gates, has it rolled out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from repoloom.errors import InputError
from repoloom.recipe.results import Evaluated, evaluation_identity
from repoloom_operator import runners
from repoloom_operator.actions import Action, AddFinalizer, Requeue
from repoloom_operator.children import Child, Children, State, Wanted, work_of
from repoloom_operator.conditions import Condition, Outcome, carried, holds
from repoloom_operator.corpus_build import PACK, Kept
from repoloom_operator.deployments import Deployment, Model, holder
from repoloom_operator.gates import missed
from repoloom_operator.recipes import Checked, check
from repoloom_operator.resources import (
    FINALIZER,
    CorpusBuildSpec,
    ModelReleaseSpec,
    Resource,
    TrainingRunSpec,
)
from repoloom_operator.roll_out import (
    SERVED,
    RollOut,
    as_wanted,
    deployment_missing,
    ended,
    not_ready,
    on_its_way,
    rejected,
    released,
    under_way,
    work,
)
from repoloom_operator.settings import Settings
from repoloom_operator.training_output import Output, model_of


@dataclass(frozen=True)
class Observed:
    """All that decides what is to be done."""

    now: datetime
    settings: Settings
    resource: Resource[ModelReleaseSpec]
    children: Sequence[Child]
    training: Resource[TrainingRunSpec] | None
    corpus: Resource[CorpusBuildSpec] | None  # of the training
    kept: Kept  # of the corpus
    output: Output  # of the training
    serving: Deployment | None
    canary: Deployment | None


def reconcile(seen: Observed) -> Iterator[Action]:
    """The next steps towards what the resource wants; none where all is as it should be."""
    release = seen.resource
    children = Children(release, seen.children)
    rolls = (
        RollOut(release, seen.serving, seen.canary, seen.now, seen.settings.look_seconds)
        if under_way(release.status)
        else None
    )
    if release.deleting:
        if FINALIZER in release.finalizers:
            yield from list(rolls.back() if rolls else ()) or children.end()
    elif FINALIZER not in release.finalizers:
        yield AddFinalizer()
    elif rolls:
        yield from rolls.steps()
    else:
        try:
            made = _made(seen)
        except _UnknownError as unknown:
            yield from _let_go(seen)
            if release.status.get("phase") in (*_ENDS, "Rejected") and as_wanted(release):
                yield from ended(release).write(release, seen.now)
                return  # whatever becomes of the training, what was done with its model stays on record
            if _is_of(release, seen.training):  # what is under way goes on
                outcome = carried(release, unknown.said)
            else:
                yield from children.stop()
                outcome = Outcome("Pending", (unknown.said,), {})
            yield from outcome.write(release, seen.now)
            yield Requeue(seen.settings.look_seconds)
        else:
            yield from _Release(seen, made).steps()


@dataclass(frozen=True)
class _Source:
    """What a model can be measured by."""

    recipe: Checked
    store: str  # where its corpus lay


@dataclass(frozen=True)
class _Made:
    """A model and what it was made of, as its TrainingRun recorded it when the corpus was there."""

    model: Model
    recipe: str  # its identity
    evaluation: str  # identity of the one evaluation that tells what the gates ask
    out: str
    training: Mapping[str, Any]  # the status
    source: _Source | None  # None: it went with the CorpusBuild

    @property
    def benchmarks(self) -> list[str]:
        """Those that its corpus was cleaned of."""
        return [found["benchmark"] for found in self.training.get("contamination", ())]


class _UnknownError(Exception):
    """There is no model yet, or it is not known what it was made of."""

    def __init__(self, reason: str, said: str) -> None:
        self.said = not_ready(reason, said)


def _is_of(release: Resource[ModelReleaseSpec], training: Resource[TrainingRunSpec] | None) -> bool:
    """Whether a release is at work on what a training, be it looked at or not, has made last."""
    lineage = release.status.get("lineage")
    if lineage is None or training is None:
        return False
    made = [training.status.get(name) for name in ("weights", "identity", "recipe")]
    return made == [lineage["model"], lineage["training"], lineage["recipe"]]


def _made(seen: Observed) -> _Made:
    """Raises _UnknownError."""
    release, training, corpus = seen.resource, seen.training, seen.corpus
    named = release.spec.training_ref.name
    if training is None:
        raise _UnknownError("TrainingNotReady", f"TrainingRun {named} is not there")
    status = training.status
    if not holds(status, "Ready") or status.get("observedGeneration") != training.generation:
        raise _UnknownError("TrainingNotReady", f"TrainingRun {named} is {status.get('phase', 'new')}")
    if "recipe" not in status or (release.spec.gates.decontaminated_from and "contamination" not in status):
        raise _UnknownError("LineageUnknown", _untold(seen, training))
    model = Model(model_of(status, training.spec.out), status["weights"])
    content = training.spec.recipe
    if content is None and corpus:
        content = corpus.spec.recipe
    if content is None:  # it went with the CorpusBuild
        if not _is_of(release, training) or "evaluation" not in release.status:
            raise _UnknownError("CorpusMissing", f"there is no CorpusBuild {training.spec.corpus_ref.name}")
        return _Made(model, status["recipe"], release.status["evaluation"], training.spec.out, status, None)
    try:
        recipe = check(content)
    except InputError:
        recipe = None
    if recipe is None or recipe.identity != status["recipe"]:
        raise _UnknownError("RecipeChanged", f"TrainingRun {named} was made by another recipe than it has by now")
    source = _Source(recipe, corpus.spec.store) if corpus else None
    evaluation = _evaluation_identity(recipe, model, status, seen.output.evaluated)
    return _Made(model, recipe.identity, evaluation, training.spec.out, status, source)


def _evaluation_identity(recipe: Checked, model: Model, status: Mapping[str, Any], found: Evaluated | None) -> str:
    """A training of old does not tell its held-out repositories: of its corpus alone a model is ever measured."""
    assert recipe.recipe.train
    heldout = status.get("heldout") or (found.heldout if found else "")
    return evaluation_identity(recipe.recipe.evaluate, recipe.recipe.train.seed, model.sha256, heldout)


def _untold(seen: Observed, training: Resource[TrainingRunSpec]) -> str:
    """Why it is not known what a model was made of, and whether that can be hoped for."""
    said = f"TrainingRun {training.name} does not tell what its corpus was cleaned of"
    if seen.kept.digests.get(PACK, training.status["corpus"]) == training.status["corpus"]:
        return f"{said}: it has not been able to read it yet"
    return f"{said}, and another lies in its place; train again, or leave out the gate decontaminatedFrom"


_ENDS = ("Released", "RolledBack")


def _let_go(seen: Observed) -> Iterator[Action]:
    """Leaves the Deployment to other releases."""
    if seen.serving and seen.serving.holder == holder(seen.resource):
        yield seen.serving.let_go()


class _Release:
    """A model that is not rolled out, or has been."""

    def __init__(self, seen: Observed, made: _Made) -> None:
        self.seen, self.made = seen, made
        self.spec, self.model = seen.resource.spec, made.model
        self.look = Requeue(seen.settings.look_seconds)
        self.work = work(self.model.sha256, made.recipe, self.spec)
        self.fields: dict[str, Any] = {
            "work": self.work,
            "lineage": {
                "model": self.model.sha256,
                "training": made.training["identity"],
                "corpus": made.training["corpus"],
                "recipe": made.recipe,
            },
            "model": self.model.uri,
            "evaluation": made.evaluation,
            "contamination": made.training.get("contamination"),
        }

    def steps(self) -> Iterator[Action]:
        """What is to be done."""
        release = self.seen.resource
        if release.status.get("phase") in _ENDS and release.status["work"] == self.work:
            yield from _let_go(self.seen)
            yield from ended(release).write(release, self.seen.now)
            return
        evaluated = self.seen.output.evaluated
        if evaluated is None or evaluated.identity != self.made.evaluation:
            yield from self._measure()
            return
        passed = self._gates(evaluated)
        if not passed.holds:
            yield from self._rest("Rejected", rejected(), passed)
        elif self.spec.deployment is None:
            yield from self._rest("Released", released("the model passed its gates"), passed)
        else:
            yield from self._begin(passed)

    def _measure(self) -> Iterator[Action]:
        children, source = Children(self.seen.resource, self.seen.children), self.made.source
        measures = work_of(self.model.sha256, self.made.recipe)
        job = next((child for child in self.seen.children if child.is_job and child.work == measures), None)
        if job is None and (waits := self._unmeasurable()):
            yield from children.stop()
            yield from self._rest("Pending", waits)
            yield self.look
            return
        if source:
            yield from children.ensure(self._evaluation(source, measures))
        phase, ready = self._evaluating(job)
        yield from self._rest(phase, ready)
        if phase != "Failed":
            yield self.look

    def _unmeasurable(self) -> Condition | None:
        """Why the model is not measured now; what is under way goes on."""
        kept, corpus, source = self.seen.kept, self.made.training["corpus"], self.made.source
        if self.spec.deployment is not None and self._served is None:
            return deployment_missing(self.seen.resource, self.seen.serving)
        if source is None:
            return not_ready("CorpusMissing", "the CorpusBuild is gone, and with it where its corpus is", alarming=True)
        if trouble := kept.trouble or self.seen.output.trouble:
            return not_ready("StoreUnread", trouble, alarming=True)
        if (found := kept.digests.get(PACK)) is None:
            return not_ready("CorpusNotReady", f"a run is at work on the corpus in {source.store}, or has failed")
        if found != corpus:
            said = f"{source.store} holds the corpus {found}, and the model was trained on {corpus}"
            return not_ready("CorpusChanged", said, alarming=True)
        return None

    def _evaluation(self, source: _Source, measures: str) -> Wanted:
        command = ["repoloom", "eval", runners.RECIPE_FILE]
        command += ["--store", source.store, "--out", self.made.out]
        return runners.job(
            self.seen.resource,
            self.seen.settings,
            source.recipe.content,
            measures,
            name="evaluate",
            pods=self.seen.settings.evaluation,
            image=self.seen.settings.images.training,
            command=command,
        )

    def _evaluating(self, job: Child | None) -> tuple[str, Condition]:
        if job and job.state is State.FAILED:
            said = f"{job.said or 'its pod said nothing'}\nDelete the Job {job.name} to try again."
            return "Failed", not_ready("EvaluationFailed", said, alarming=True)
        if job and job.state is State.SUCCEEDED:
            lacks = f"{self.made.out} holds no evaluation of this model by its recipe"
            said = self.seen.output.trouble or f"{lacks}\nDelete the Job {job.name} to measure it anew."
            return "Evaluating", not_ready("StoreUnread", said, alarming=True)
        return "Evaluating", not_ready("Evaluating", (job and job.said) or "the model is being measured")

    def _gates(self, evaluated: Evaluated) -> Condition:
        scores = evaluated.evaluation.overall.trained
        self.fields["scores"] = {
            "bitsPerByte": scores.bits_per_byte,
            "exactMatch": scores.exact_match,
            "editSimilarity": scores.edit_similarity,
        }
        lacks = list(missed(self.spec.gates, scores, self.made.benchmarks))
        if lacks:
            return Condition("GatesPassed", False, "GatesMissed", "\n".join(lacks), alarming=True)
        return Condition("GatesPassed", True, "GatesPassed", "the model is let through")

    def _begin(self, passed: Condition) -> Iterator[Action]:
        """Takes the Deployment for this release, and then remembers what it serves: a roll-out is under way."""
        serving, served, me = self.seen.serving, self._served, holder(self.seen.resource)
        if serving is None or served is None:
            yield from self._rest("Pending", deployment_missing(self.seen.resource, serving), passed)
            yield self.look
        elif served == self.model and serving.ready:
            yield from self._rest("Released", released(SERVED), passed)
        elif served == self.model:  # by another's will: there is nothing to go back to
            yield from self._rest("RollingOut", on_its_way(serving), passed)
            yield self.look
        elif serving.holder == me:
            self.fields |= {"candidate": asdict(self.model), "former": asdict(served)}
            yield from self._write("Canary", not_ready("Canary"), passed)
            yield Requeue(0)
        elif serving.holder:
            said = f"{serving.name} gets the model of ModelRelease {serving.holder.name}, and then this one"
            yield from self._write("Pending", not_ready("DeploymentBusy", said), passed)
            yield self.look
        else:
            yield serving.hold(me)
            yield Requeue(0)

    @property
    def _served(self) -> Model | None:
        """What is served now; None where there is nothing that a release may have serve a model."""
        return self.seen.serving.model if self.seen.serving and not self.seen.serving.canary else None

    def _rest(self, phase: str, *conditions: Condition) -> Iterator[Action]:
        yield from _let_go(self.seen)
        yield from self._write(phase, *conditions)

    def _write(self, phase: str, *conditions: Condition) -> Iterator[Action]:
        return Outcome(phase, conditions, self.fields).write(self.seen.resource, self.seen.now)
