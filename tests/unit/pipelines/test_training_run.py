"""A training by the operator: the resources that are made for it, and what becomes of a store whose corpus moved."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from repoloom.errors import ConflictError
from repoloom.recipe.model import Recipe
from repoloom.recipe.run import Made, RunRecord
from repoloom_pipelines import model_path, training_run
from repoloom_pipelines.claim import claim
from repoloom_pipelines.settings import Workers
from repoloom_pipelines.training_run import train_by_operator

RECIPE = Recipe({"name": "a", "crawl": {"sources": [{"kind": "folder", "path": "/a"}]}})
FIRST, SECOND = "sha256:" + "1" * 64, "sha256:" + "2" * 64


class Kubernetes:
    """The custom resources of a namespace, and an operator that does something at each look."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], dict[str, Any]] = {}
        self.happens: Callable[[], None] = lambda: None

    def create_namespaced_custom_object(self, *where: Any) -> None:
        *_, plural, body = where
        if (plural, body["metadata"]["name"]) in self.found:
            raise ApiException(status=409)
        self.found[plural, body["metadata"]["name"]] = {**body, "metadata": {**body["metadata"], "generation": 1}}

    def patch_namespaced_custom_object(self, *where: Any) -> None:
        *_, plural, name, body = where
        self.found[plural, name] |= body

    def get_namespaced_custom_object(self, *where: Any) -> dict[str, Any]:
        *_, plural, name = where
        self.happens()
        return self.found[plural, name]

    def trains(self) -> None:
        for found in self.found.values():
            found["status"] = {"observedGeneration": 1, "phase": "Succeeded"}

    def names(self, plural: str) -> list[str]:
        return [name for each, name in self.found if each == plural]


@pytest.fixture
def kubernetes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Kubernetes:
    kubernetes = Kubernetes()
    (tmp_path / "namespace").write_text("here")
    monkeypatch.setattr(config, "load_incluster_config", lambda: None)
    monkeypatch.setattr(client, "CustomObjectsApi", lambda: kubernetes)
    monkeypatch.setattr(training_run, "_NAMESPACE", tmp_path / "namespace")
    monkeypatch.setattr(training_run, "_LOOK_SECONDS", 0)
    monkeypatch.setattr(model_path, "open_model", lambda store: store)
    return kubernetes


def packed(store: Path, digest: str) -> None:
    RunRecord(recipe=RECIPE.model_dump(), made=(Made(step="pack", digest=digest),)).write(str(store))


def train(store: Path, corpus: str) -> None:
    name = claim(RECIPE, str(store))
    train_by_operator(json.dumps(RECIPE.model_dump()), str(store), name, corpus, Workers(workers=2))


def test_each_corpus_of_a_claim_has_a_training_of_its_own_that_takes_no_other(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    kubernetes.happens = kubernetes.trains
    for corpus in (FIRST, SECOND, SECOND):
        packed(tmp_path, corpus)
        train(tmp_path, corpus)
    [build] = kubernetes.names("corpusbuilds")
    runs = kubernetes.names("trainingruns")
    assert len(runs) == 2
    wanted = [kubernetes.found["trainingruns", name]["spec"]["corpusRef"] for name in runs]
    assert wanted == [{"name": build, "digest": FIRST}, {"name": build, "digest": SECOND}]
    assert all(len(name) <= 40 for name in runs)


def test_a_store_that_moved_on_while_it_waited_is_a_conflict(kubernetes: Kubernetes, tmp_path: Path) -> None:
    packed(tmp_path, FIRST)
    kubernetes.happens = lambda: packed(tmp_path, SECOND)
    with pytest.raises(ConflictError, match=f"holds the corpus {SECOND}, the task was given {FIRST}"):
        train(tmp_path, FIRST)
