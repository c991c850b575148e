"""The pipelines: corpus, pretraining, fine-tuning, evaluation, and all of it. However each ends, its report is last.

A run that failed is started again as it was: what its tasks committed is taken over.
"""

from collections.abc import Callable
from enum import StrEnum

from kfp import dsl
from kfp.dsl.base_component import BaseComponent
from kfp.dsl.pipeline_channel import PipelineParameterChannel as Later

from repoloom.recipe.sections import DATA_PATH
from repoloom_pipelines import components
from repoloom_pipelines.pods import reach_redis, shape
from repoloom_pipelines.settings import Settings


class Name(StrEnum):
    """What may be run."""

    CORPUS = "corpus"
    PRETRAINING = "pretraining"
    FINE_TUNING = "fine-tuning"
    EVALUATION = "evaluation"
    WHOLE = "whole"


def pipeline(name: Name, settings: Settings) -> BaseComponent:
    """A pipeline whose pods look as the settings say."""
    return _BUILDERS[name](_Tasks(settings))


class _Tasks:
    """Adds tasks to the pipeline that is being defined."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def report(self, recipe: Later, store: Later) -> dsl.PipelineTask:
        return self._training(components.report(recipe=recipe, store=store), cached=False)

    def claim(self, recipe: Later, store: Later) -> Later:
        task = components.claim(recipe=recipe, store=store)
        shape(task, self._settings.data, self._settings, cached=False)
        return task.output

    def corpus(self, recipe: Later, store: Later, claimed: Later, workers: Later) -> tuple[Later | str, Later]:
        """The digest of the packed tokens, and the claim for what goes on from them."""
        given: Later | str = ""
        for stage in DATA_PATH:
            task = components.STAGES[stage](
                stage=stage, recipe=recipe, store=store, claimed=claimed, given=given, workers=workers
            )
            shape(task, self._settings.data, self._settings, cached=stage not in components.LOOKING_OUTSIDE)
            reach_redis(task, self._settings)
            given, claimed = task.outputs["digest"], task.outputs["claim"]
        return given, claimed

    def find_corpus(self, store: Later) -> Later:
        return self._training(components.find_corpus(store=store), cached=False).outputs["Output"]

    def find_model(self, store: Later) -> Later:
        return self._training(components.find_model(store=store), cached=False).output

    def train(self, recipe: Later, store: Later, claimed: Later, corpus: Later | str) -> Later:
        workers = self._settings.training_workers
        given = workers.model_dump_json() if workers else ""
        task = components.train(recipe=recipe, store=store, claimed=claimed, corpus=corpus, workers=given)
        return self._training(task, cached=False).outputs["Output"]

    def find_base(self, recipe: Later, store: Later) -> Later:
        return self._training(components.find_base(recipe=recipe, store=store), cached=False).output

    def tune(self, recipe: Later, store: Later, claimed: Later, base: Later) -> Later:
        task = components.tune(recipe=recipe, store=store, claimed=claimed, base=base)
        return self._training(task, cached=False).outputs["Output"]

    def evaluate(self, recipe: Later, store: Later, claimed: Later, weights: Later) -> None:
        task = components.evaluate(recipe=recipe, store=store, claimed=claimed, weights=weights)
        self._training(task, cached=True)

    def _training(self, task: dsl.PipelineTask, *, cached: bool) -> dsl.PipelineTask:
        shape(task, self._settings.training, self._settings, cached=cached)
        return task


def _corpus(add: _Tasks) -> BaseComponent:
    @dsl.pipeline(name="repoloom-corpus", description="From sources to packed tokens.")
    def corpus(recipe: str, store: str, workers: int = 2) -> None:
        with dsl.ExitHandler(add.report(recipe, store)):
            add.corpus(recipe, store, add.claim(recipe, store), workers)

    return corpus


def _pretraining(add: _Tasks) -> BaseComponent:
    @dsl.pipeline(name="repoloom-pretraining", description="From the packed tokens of a store to a model.")
    def pretraining(recipe: str, store: str) -> None:
        with dsl.ExitHandler(add.report(recipe, store)):
            add.train(recipe, store, add.claim(recipe, store), add.find_corpus(store))

    return pretraining


def _fine_tuning(add: _Tasks) -> BaseComponent:
    @dsl.pipeline(name="repoloom-fine-tuning", description="From the trained model of a store to one that answers.")
    def fine_tuning(recipe: str, store: str) -> None:
        with dsl.ExitHandler(add.report(recipe, store)):
            claimed = add.claim(recipe, store)
            add.evaluate(recipe, store, claimed, add.tune(recipe, store, claimed, add.find_base(recipe, store)))

    return fine_tuning


def _evaluation(add: _Tasks) -> BaseComponent:
    @dsl.pipeline(name="repoloom-evaluation", description="Measures the model of a store on held-out repositories.")
    def evaluation(recipe: str, store: str) -> None:
        with dsl.ExitHandler(add.report(recipe, store)):
            add.evaluate(recipe, store, add.claim(recipe, store), add.find_model(store))

    return evaluation


def _whole(add: _Tasks) -> BaseComponent:
    @dsl.pipeline(name="repoloom", description="From sources to a measured model.")
    def whole(recipe: str, store: str, workers: int = 2) -> None:
        with dsl.ExitHandler(add.report(recipe, store)):
            corpus, claimed = add.corpus(recipe, store, add.claim(recipe, store), workers)
            add.evaluate(recipe, store, claimed, add.train(recipe, store, claimed, corpus))

    return whole


_BUILDERS: dict[Name, Callable[[_Tasks], BaseComponent]] = {
    Name.CORPUS: _corpus,
    Name.PRETRAINING: _pretraining,
    Name.FINE_TUNING: _fine_tuning,
    Name.EVALUATION: _evaluation,
    Name.WHOLE: _whole,
}
