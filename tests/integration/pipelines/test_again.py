"""A pipeline that was killed goes on where it was; two at once on one store do it no harm."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import s3_servers
from fleet import PASSWORD, Redis
from pipe import Command, commits, made, repoloom

from repoloom.cli.training import TrainingView
from repoloom.errors import ConflictError
from repoloom.recipe.model import Recipe
from repoloom.recipe.run import RunRecord, verify
from repoloom_pipelines.claim import claim
from repoloom_pipelines.model_path import train


def test_killed_amid_a_stage_it_goes_on_and_does_nothing_twice(recipe: Path, plain: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    arguments = ("pipeline", "run-local", recipe, "--store", store, "--pipeline", "corpus", "--workers", 1)
    first = Command(*arguments)
    _await(lambda: len(list(store.glob("dedup.*/tasks/**/commit.json"))) >= 3, first)
    first.kill()
    committed = commits(store)
    assert len(committed) > 5
    assert not (store / "dedup.survivors" / "manifest.json").exists(), "it was not killed amid the stage"

    ended = repoloom(*arguments)
    assert ended.code == 0, ended.err
    assert {path: stamp for path, stamp in commits(store).items() if path in committed} == committed
    assert made(store) == made(plain)
    assert verify(str(store))


def test_two_at_once_on_a_folder_take_turns_or_are_refused_and_harm_nothing(
    recipe: Path, plain: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    arguments = ("pipeline", "run-local", recipe, "--store", store, "--pipeline", "corpus", "--workers", 1)
    for ended in [one.end() for one in [Command(*arguments) for _ in range(2)]]:
        assert ended.code == 0 or "is in use by process" in ended.err, ended.err
    assert repoloom(*arguments).code == 0
    assert made(store) == made(plain)
    assert verify(str(store))


def test_two_at_once_on_one_bucket_make_the_corpus_of_one(recipe: Path, plain: Path, tmp_path: Path) -> None:
    with s3_servers.serve("rclone", tmp_path / "server") as server:
        server.client().make_bucket("corpus")
        environment = server.environment()
        arguments = ("pipeline", "run-local", recipe, "--store", "s3://corpus/run", "--pipeline", "corpus", "--json")
        both = [Command(*arguments, "--workers", 1, **environment) for _ in range(2)]
        for ended in [one.end() for one in both]:
            assert ended.code == 0, ended.err
            assert json.loads(ended.out)["digest"] == made(plain)["pack"]
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            assert verify("s3://corpus/run")
            assert {one.step: one.digest for one in RunRecord.read("s3://corpus/run").made} == made(plain)


def test_a_training_whose_store_another_recipe_claims_ends_before_it_saves(
    recipe: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    shutil.copytree(plain, store)
    before = _kept(store)
    text = recipe.read_text().replace("steps: 12", "steps: 13")
    ours = Recipe.parse(text, "recipe")
    theirs = Recipe({**ours.model_dump(), "name": "theirs"})
    monkeypatch.setattr(TrainingView, "step", lambda *_: claim(theirs, str(store)))
    with pytest.raises(ConflictError, match="used by a run of another recipe"):
        train(text, str(store), claim(ours, str(store)), made(store)["pack"])
    assert _kept(store) == before


def test_where_redis_is_set_celerys_workers_do_the_tasks(recipe: Path, plain: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    redis = Redis(tmp_path / "redis")
    redis.start()
    environment = {
        "REPOLOOM_REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
        "REPOLOOM_REDIS_PASSWORD": PASSWORD,
        "REPOLOOM_CRAWL_ALLOW": "local-files",
    }
    worker = Command("worker", "--store", store, "--concurrency", 2, **environment)
    try:
        ended = repoloom(
            "pipeline", "run-local", recipe, "--store", store, "--pipeline", "corpus", "--json", **environment
        )
        assert ended.code == 0, ended.err
    finally:
        worker.kill()
        assert redis.process is not None
        redis.process.kill()
        redis.process.wait()
    assert made(store) == made(plain)


def _kept(store: Path) -> dict[Path, bytes]:
    """Model, record and checkpoints."""
    files = [store / "training.json", *store.glob("model/*"), *store.glob("train/*/*"), *store.glob("stages/*/*.json")]
    return {path: path.read_bytes() for path in files}


def _await(holds: Callable[[], bool], command: Command) -> None:
    until = time.monotonic() + 300
    while not holds():
        assert command.runs, command.end().err
        assert time.monotonic() < until, "it never came to hold"
        time.sleep(0.02)
