"""Kubeflow as far as its cache goes: it does the tasks of a compiled pipeline here, and none that it did before.

It knows a task by its component and the values of its inputs, and looks at nothing else (kubeflow/pipelines
backend/src/v2/cacheutils). What it may not answer from the cache, it does not remember either.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from kfp import dsl

from repoloom_pipelines import components

_KINDS = {
    "system.Dataset": dsl.Dataset,
    "system.Metrics": dsl.Metrics,
    "system.Model": dsl.Model,
    "system.HTML": dsl.HTML,
}


class Kubeflow:
    """One that remembers."""

    def __init__(self, root: Path) -> None:
        self._root = root  # of the artifacts
        root.mkdir()
        self._known: dict[str, dict[str, Any]] = {}

    def run(self, package: Path, given: Mapping[str, str | int]) -> list[str]:
        """Does a pipeline to its end; returns the names of the tasks that it did not answer from the cache."""
        spec, _ = yaml.safe_load_all(package.read_text())
        (inner,) = (task for name, task in spec["root"]["dag"]["tasks"].items() if name != "report")
        tasks = spec["components"][inner["componentRef"]["name"]]["dag"]["tasks"]
        did, outputs = [], dict[str, dict[str, Any]]()
        while waiting := tasks.keys() - outputs.keys():
            name = min(task for task in waiting if outputs.keys() >= set(tasks[task].get("dependentTasks", ())))
            task, component = tasks[name], spec["components"][tasks[name]["componentRef"]["name"]]
            inputs = {
                key: _value(value, given, outputs)
                for key, value in task.get("inputs", {}).get("parameters", {}).items()
            }
            known = json.dumps([component["executorLabel"], inputs], sort_keys=True)
            cached = task["cachingOptions"].get("enableCache", False)
            if not cached or known not in self._known:
                outputs[name] = self._do(name, component, inputs)
                did.append(name)
                if cached:
                    self._known[known] = outputs[name]
            else:
                outputs[name] = self._known[known]
        return did

    def _do(self, name: str, component: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
        makes = component.get("outputDefinitions", {})
        artifacts = {
            key: _KINDS[of["artifactType"]["schemaTitle"]](name=key, uri=str(self._root / f"{name}-{key}"))
            for key, of in makes.get("artifacts", {}).items()
        }
        does = {**components.STAGES, **vars(components)}[name].python_func
        found = does(**inputs, **artifacts)
        fields = getattr(does.__annotations__["return"], "_fields", ("Output",))
        return dict(zip(fields, found if isinstance(found, tuple) else (found,), strict=True))


def _value(value: dict[str, Any], given: Mapping[str, str | int], outputs: Mapping[str, Mapping[str, Any]]) -> Any:
    if "runtimeValue" in value:
        return value["runtimeValue"]["constant"]
    if "componentInputParameter" in value:
        return given[value["componentInputParameter"].removeprefix("pipelinechannel--")]
    of = value["taskOutputParameter"]
    return outputs[of["producerTask"]][of["outputParameterKey"]]
