"""The tasks: thin bodies around library calls, which Kubeflow runs from their source in pods of our images.

The artifacts hold references: a dataset's is its address in the store with digest and numbers, and the store is the
truth. What one task hands to the next are digests, as parameters and not as artifacts: Kubeflow's cache then knows a
task by recipe, store, claim (`claim.py`) and the content it goes on from, whichever run made that. The recipe comes as
text, JSON or YAML: Kubeflow holds numbers in structures as floats, which not every whole number survives.
"""

import dataclasses
from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Dataset, Metrics, Model, Output
from kfp.dsl.python_component import PythonComponent

from repoloom.recipe.sections import DATA_PATH

_DATA, _TRAINING = "repoloom", "repoloom-training"  # the images; `pods.py` names the real ones


@dsl.component(base_image=_DATA, install_kfp_package=False)
def claim(recipe: str, store: str) -> str:
    """Checks the recipe, claims the store for it, and returns the claim."""
    from repoloom.recipe.model import Recipe
    from repoloom_pipelines.claim import claim as claim_store

    return claim_store(Recipe.parse(recipe, "recipe"), store)


@dsl.component(base_image=_DATA, install_kfp_package=False)
def run_stage(
    stage: str,
    recipe: str,
    store: str,
    claimed: str,
    given: str,
    workers: int,
    dataset: Output[Dataset],
    metrics: Output[Metrics],
) -> NamedTuple("Handed", [("digest", str), ("claim", str)]):  # type: ignore[valid-type]  # kfp's form
    """Runs a stage on what the stage before made, whose digest is `given`; returns the digest of what it makes.

    And the claim for those after it: another one where what it makes took the place of something else.
    """
    from repoloom_pipelines.data_path import make

    made, claim = make(stage, recipe, store, claimed, given, workers)
    dataset.uri = made.uri
    dataset.metadata.update(made.metadata)
    for name, count in made.counts.items():
        metrics.log_metric(name, count)
    return made.digest, claim


@dsl.component(base_image=_TRAINING, install_kfp_package=False)
def find_corpus(store: str, dataset: Output[Dataset]) -> str:
    """Returns the digest of the packed tokens that lie in the store."""
    from repoloom_pipelines.data_path import made_of
    from repoloom_pipelines.model_path import open_corpus

    made = made_of([open_corpus(store).packed])
    dataset.uri = made.uri
    dataset.metadata.update(made.metadata)
    return made.digest


@dsl.component(base_image=_TRAINING, install_kfp_package=False)
def find_model(store: str) -> str:
    """Returns the SHA-256 of the weights of the model that lies in the store."""
    from repoloom_pipelines.model_path import open_model

    return open_model(store).weights


@dsl.component(base_image=_TRAINING, install_kfp_package=False)
def find_base(recipe: str, store: str) -> str:
    """Returns the SHA-256 of the weights in the store that the recipe's instruction tuning goes on from."""
    from repoloom_pipelines.model_path import find_base as find

    return find(recipe, store)


@dsl.component(base_image=_TRAINING, install_kfp_package=False)
def train(
    recipe: str,
    store: str,
    claimed: str,
    corpus: str,
    workers: str,
    model: Output[Model],
    metrics: Output[Metrics],
) -> str:
    """Trains on the packed tokens whose digest is `corpus`, stage after stage; returns the SHA-256 of the weights.

    In this pod, or by `workers`: JSON of `settings.Workers`, text for the reason that the recipe is.
    """
    from repoloom_pipelines.model_path import tell

    if workers:
        from repoloom_pipelines.settings import Workers
        from repoloom_pipelines.training_run import train_by_operator

        trained = train_by_operator(recipe, store, claimed, corpus, Workers.model_validate_json(workers))
    else:
        from repoloom_pipelines.model_path import train as train_here

        trained = train_here(recipe, store, claimed, corpus)
    return tell(trained, store, model, metrics)


@dsl.component(base_image=_TRAINING, install_kfp_package=False)
def tune(recipe: str, store: str, claimed: str, base: str, model: Output[Model], metrics: Output[Metrics]) -> str:
    """Tunes the model whose weights are `base` on conversations; returns the SHA-256 of the new weights."""
    from repoloom_pipelines.model_path import tell
    from repoloom_pipelines.model_path import tune as tune_model

    return tell(tune_model(recipe, store, claimed, base), store, model, metrics)


@dsl.component(base_image=_TRAINING, install_kfp_package=False)
def evaluate(recipe: str, store: str, claimed: str, weights: str, metrics: Output[Metrics], page: Output[HTML]) -> None:
    """Measures the model of these weights, and its untrained twin, on the held-out repositories."""
    from pathlib import Path

    from repoloom_pipelines.model_path import evaluate as evaluate_model
    from repoloom_pipelines.model_path import scores, write_page

    for name, value in scores(evaluate_model(recipe, store, claimed, weights)).items():
        metrics.log_metric(name, value)
    write_page(recipe, store, Path(page.path))


@dsl.component(base_image=_TRAINING, install_kfp_package=False)
def report(recipe: str, store: str, page: Output[HTML]) -> None:
    """Writes the report of whatever the run has made."""
    from pathlib import Path

    from repoloom_pipelines.model_path import write_page

    print(write_page(recipe, store, Path(page.path)))


STAGES = {
    stage: PythonComponent(dataclasses.replace(run_stage.component_spec, name=stage), run_stage.python_func)
    for stage in DATA_PATH
}
"""`run_stage` under the name of each stage, so that tasks, logs and the graph are told apart."""

LOOKING_OUTSIDE = ("crawl", "decontaminate")
"""The stages that read sources and benchmarks (`recipe.sections.settle`): nothing that a cache knows tells whether
these have changed."""
