"""What Kubeflow answers from its cache is what the store holds, whatever moved, and moved back, between two runs."""

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from kubeflow import Kubeflow
from pipe import RECIPE, made, repoloom

from repoloom.errors import ConflictError
from repoloom.recipe.model import Recipe
from repoloom.recipe.results import Trained
from repoloom.recipe.run import verify
from repoloom_pipelines.claim import claim
from repoloom_pipelines.data_path import make
from repoloom_pipelines.pipelines import Name
from repoloom_pipelines.running import arguments, compile_to
from repoloom_pipelines.settings import Settings

LOOKING = {"claim", "crawl", "decontaminate"}
TO_BENCHMARKS = {"filter", "order", "dedup", "quality"}
FROM_BENCHMARKS = {"split", "tokenize", "mix", "pack"}


@dataclass(frozen=True)
class World:
    """A recipe, what it reads, a store for it, and a Kubeflow."""

    folder: Path
    kubeflow: Kubeflow

    @property
    def recipe(self) -> Path:
        return self.folder / "recipe.yaml"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def sources(self, word: str) -> None:
        """Has each source hold a function of that name, too."""
        for source in (self.folder / "sources").iterdir():
            lines = [f"    print({word!r}, {source.name!r}, {number})" for number in range(20)]
            (source / "more.py").write_text("\n".join([f"def {word}_{source.name}():", *lines, ""]))

    def benchmark(self, text: str) -> None:
        """Has the benchmark be of that text."""
        (self.folder / "benchmark.jsonl").write_text(json.dumps({"prompt": text}) + "\n")

    def run(self, name: Name = Name.CORPUS) -> set[str]:
        """Runs a pipeline to its end; returns the tasks that were not answered from the cache."""
        package = self.folder / f"{name}.yaml"
        compile_to(name, Settings(), package)
        did = self.kubeflow.run(package, arguments(name, Recipe.load(self.recipe), str(self.store), 1))
        assert verify(str(self.store))
        return set(did)


@pytest.fixture
def world(tmp_path: Path) -> World:
    library = Path(logging.__file__).parents[1]
    for name in ("json", "http", "logging", "importlib"):
        shutil.copytree(library / name, tmp_path / "sources" / name, ignore=shutil.ignore_patterns("__pycache__"))
    recipe = RECIPE.replace("{stdlib}", str(tmp_path / "sources"))
    recipe = "\n".join(line for line in recipe.splitlines() if not line.startswith(("extend", "instruct")))
    benchmark = f"decontaminate: {{benchmarks: [{{name: theirs, path: {tmp_path / 'benchmark.jsonl'}}}]}}\n"
    (tmp_path / "recipe.yaml").write_text(f"{recipe}\n{benchmark}")
    world = World(tmp_path, Kubeflow(tmp_path / "artifacts"))
    world.sources("sun")
    world.benchmark("one that is in no file")
    return world


def test_sources_that_move_and_move_back_are_trained_on_each_time(world: World) -> None:
    weights, corpora = [], []
    for word in ("sun", "moon", "sun"):
        world.sources(word)
        did = world.run(Name.WHOLE)
        assert did == LOOKING | TO_BENCHMARKS | FROM_BENCHMARKS | {"train", "evaluate"}
        trained = Trained.model_validate_json((world.store / "training.json").read_text())
        assert trained.packed == made(world.store)["pack"]
        weights.append(trained.weights)
        corpora.append(made(world.store))
    assert corpora[0] == corpora[2] != corpora[1]
    assert weights[0] == weights[2] != weights[1]
    assert world.run(Name.WHOLE) == LOOKING | {"train"}


def test_a_benchmark_that_is_put_back_has_what_comes_after_it_done_again(world: World) -> None:
    corpora = []
    for text in ("one that is in no file", "another that is in none", "one that is in no file"):
        world.benchmark(text)
        assert world.run() >= LOOKING | FROM_BENCHMARKS
        corpora.append(made(world.store))
    assert corpora[0] == corpora[2] != corpora[1]
    world.run()  # the stages before it have a new claim once
    assert world.run() == LOOKING


def test_sources_that_move_back_after_repoloom_run_saw_others_are_read_again(world: World) -> None:
    world.run()
    before = made(world.store)
    world.sources("moon")
    assert repoloom("run", world.recipe, "--out", world.store, "--until", "pack").code == 0
    world.sources("sun")
    world.run()
    assert made(world.store) == before
    assert world.run() == LOOKING


def test_a_crawl_that_is_tried_again_hands_down_the_claim_that_the_attempt_before_it_made(world: World) -> None:
    world.run()
    recipe, store = Recipe.load(world.recipe), str(world.store)
    given = json.dumps(recipe.model_dump())
    claimed = claim(recipe, store)
    world.sources("moon")
    (crawl, first), (_, again) = [make("crawl", given, store, claimed, "", 1) for _ in range(2)]
    assert first == again != claimed
    assert claim(recipe, store) == first
    make("filter", given, store, first, crawl.digest, 1)


def test_a_run_whose_sources_another_run_read_anew_is_refused(world: World) -> None:
    world.run()
    recipe, store = Recipe.load(world.recipe), str(world.store)
    given = json.dumps(recipe.model_dump())
    former, claimed = made(world.store), claim(recipe, store)
    world.sources("moon")
    make("crawl", given, store, claimed, "", 1)
    with pytest.raises(ConflictError, match="it was made anew"):
        make("filter", given, store, claimed, former["crawl"], 1)
