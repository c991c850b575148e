"""The sections of a recipe that belong to stages: all parameters of a stage's steps, under the stage's name."""

import functools
import importlib
from collections.abc import Mapping
from typing import Any

from pydantic import create_model

from repoloom.engine.execute import params_model
from repoloom.engine.step import Params, Step

DATA_PATH = ("crawl", "filter", "order", "dedup", "quality", "decontaminate", "split", "tokenize", "mix", "pack")
"""The stages in the order they run: the paper's (arXiv 2401.14196 section 2), then held-out repositories leave before
anything is counted, and the mix follows tokenization because its shares are of tokens."""

SHARED = ("seed", "sequence_length")
"""Parameters that a recipe gives once for every stage that has them."""


def steps(stage: str) -> tuple[type[Step[Params]], ...]:
    """The steps of a stage, in the order they run."""
    found: tuple[type[Step[Params]], ...] = importlib.import_module(f"repoloom.stages.{stage}").STEPS
    return found


def step_names() -> list[str]:
    """The names of all steps of the data path, in the order they run."""
    return [step.name for stage in DATA_PATH for step in steps(stage)]


@functools.cache
def section(stage: str) -> type[Params]:
    """The model of a stage's section: the fields of its steps' parameters; steps that name the same one share it."""
    fields: dict[str, Any] = {}
    for step in steps(stage):
        for name, field in params_model(step).model_fields.items():
            fields[name] = (field.annotation, field)
    return create_model(f"{stage.capitalize()}Section", __base__=Params, **fields)


def configure(step: type[Step[Params]], values: Mapping[str, Any]) -> Step[Params]:
    """A step with those of a section's values that are its own."""
    model = params_model(step)
    return step(model.model_validate({name: value for name, value in values.items() if name in model.model_fields}))


def settle(stage: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """A section's values, with what they name on this machine known by its content, so that a change is seen."""
    if stage == "crawl":
        from repoloom.stages.crawl.resolve import resolve

        return {**values, "sources": tuple(settled for source in values["sources"] for settled in resolve(source))}
    if stage == "decontaminate":
        from repoloom.stages.decontaminate.benchmarks import pin

        return {**values, "benchmarks": tuple(pin(source) for source in values["benchmarks"])}
    return values
