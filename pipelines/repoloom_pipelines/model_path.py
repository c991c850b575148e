"""From packed tokens to a measured model and its report, as tasks of a pipeline do it. Torch loads with the task."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kfp.dsl import Metrics, Model
from rich.console import Console

from repoloom.engine.reconcile import Fence
from repoloom.errors import ConflictError, InputError, UnavailableError
from repoloom.recipe.finish import write_run_report
from repoloom.recipe.hold import hold
from repoloom.recipe.model import Recipe
from repoloom.recipe.run import datasets_at
from repoloom.store import open_store
from repoloom_pipelines.claim import check_claim

if TYPE_CHECKING:
    from repoloom.evaluation.result import Evaluation
    from repoloom.recipe.corpus import Corpus
    from repoloom.recipe.results import Trained
    from repoloom.recipe.training_stages import Stage


def train(recipe: str, store: str, claimed: str, corpus: str) -> "Trained":
    """Trains on the packed tokens of that digest, going on from the newest checkpoint, and exports to STORE/model.

    Raises ConflictError where the store is another's, at the latest with the next checkpoint.
    """
    fence = partial(check_claim, store, claimed)
    fence()
    with hold(store):
        packed = open_corpus(store)
        if packed.packed.digest != corpus:
            raise ConflictError(f"{store} holds the corpus {packed.packed.digest}, the task was given {corpus}")
        return _train(_stages(recipe, packed, store, fence), packed, store, fence)


def tune(recipe: str, store: str, claimed: str, base: str) -> "Trained":
    """Tunes the model whose weights have that SHA-256; else as `train`."""
    fence = partial(check_claim, store, claimed)
    fence()
    with hold(store):
        packed = open_corpus(store)
        stages = _stages(recipe, packed, store, fence)
        if (found := _base_of(stages, packed, store)) != base:
            raise ConflictError(f"{store} holds the base model {found}, the task was given {base}")
        return _train(stages, packed, store, fence)


def tell(trained: "Trained", store: str, model: Model, metrics: Metrics) -> str:
    """Says in its artifacts what a training came to; returns the SHA-256 of the weights.

    The numbers of the last stage have their own names, those of the stages before it begin with theirs.
    """
    model.uri = f"{store.rstrip('/')}/model"
    model.metadata.update(weights=trained.weights, corpus=trained.packed, parameters=trained.parameters)
    for prefix, stage in (("", trained), *((f"{stage.stage}_", stage) for stage in trained.stages[:-1])):
        for name in ("steps", "final_loss", "unigram_loss", "seconds"):
            metrics.log_metric(f"{prefix}{name.removeprefix('final_')}", getattr(stage, name))
    return trained.weights


def find_base(recipe: str, store: str) -> str:
    """The SHA-256 of the weights that the recipe's last stage, of several, goes on from. Raises InputError."""
    packed = open_corpus(store)
    return _base_of(_stages(recipe, packed, store), packed, store)


def _train(stages: "Sequence[Stage]", corpus: "Corpus", store: str, fence: Fence) -> "Trained":
    from repoloom.cli.training import TrainingView, show_trained
    from repoloom.recipe.model_path import Stopped, train_stages
    from repoloom.training.parallel import SingleProcess

    console = Console(stderr=True)
    with TrainingView(console) as view:
        ended = train_stages(stages, corpus, store, SingleProcess(), view, fence=fence)
    if isinstance(ended, Stopped):
        raise UnavailableError(
            f"stopped after step {ended.step} of {ended.steps} of {ended.stage}; another attempt goes on from there"
        )
    show_trained(ended, store, console)
    return ended


def _base_of(stages: "Sequence[Stage]", corpus: "Corpus", store: str) -> str:
    """Raises InputError where the recipe tunes nothing, or what it tunes is not there."""
    from repoloom.recipe.model_path import kept_stages
    from repoloom.recipe.results import StageName

    if stages[-1].name is not StageName.INSTRUCT:
        raise InputError("the recipe has no `instruct` section")
    kept = kept_stages(stages[:-1], corpus, store)
    if len(kept) < len(stages) - 1:
        missing = stages[len(kept)].name
        raise InputError(f"{store} holds no model of the recipe's stage {missing}; run the pipeline pretraining first")
    return kept[-1].weights


def evaluate(recipe: str, store: str, claimed: str, weights: str) -> "Evaluation":
    """Measures STORE/model, whose weights have that SHA-256, on the held-out repositories."""
    from repoloom.cli.training import EvaluationView, show_evaluation
    from repoloom.recipe.model_path import evaluate_model

    wanted = Recipe.parse(recipe, "recipe")
    if wanted.train is None:
        raise InputError("the recipe has no `train` section")
    fence = partial(check_claim, store, claimed)
    fence()
    console = Console(stderr=True)
    with hold(store):
        trained = open_model(store)
        if trained.weights != weights:
            raise ConflictError(f"{store} holds the model {trained.weights}, the task was given {weights}")
        with EvaluationView(console) as view:
            evaluation = evaluate_model(
                wanted.evaluate, trained, wanted.train.seed, open_corpus(store), store, view.status, fence
            )
    show_evaluation(evaluation, console)
    return evaluation


def open_corpus(store: str) -> "Corpus":
    """What the data path made at an address. Raises InputError where it is not there, or not whole."""
    from repoloom.recipe.corpus import Corpus

    return Corpus.of({dataset.manifest.step: dataset for dataset in datasets_at(store)})


def open_model(store: str) -> "Trained":
    """What was trained at an address on the corpus there. Raises InputError where nothing was."""
    from repoloom.recipe.model_path import trained_at

    return trained_at(store, open_corpus(store))


def write_page(recipe: str, store: str, to: Path) -> str:
    """Writes the report of what lies at an address beside it and to a file; returns the first one's address."""
    page = write_run_report(Recipe.parse(recipe, "recipe").name, datasets_at(store), store)
    to.write_bytes(open_store(store).read(page.rpartition("/")[2]))
    return page


def scores(evaluation: "Evaluation") -> dict[str, float]:
    """The scores over all languages, of the trained model and of its untrained twin, without what was not measured."""
    return {
        f"{model}_{name}": value
        for model, of in (("trained", evaluation.overall.trained), ("untrained", evaluation.overall.untrained))
        for name, value in of.model_dump().items()
        if value is not None
    }


def _stages(recipe: str, corpus: "Corpus", store: str, fence: Fence = lambda: None) -> "Sequence[Stage]":
    from repoloom.recipe.training_stages import stages_of

    return stages_of(Recipe.parse(recipe, "recipe"), corpus, store, fence)
