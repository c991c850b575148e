"""From packed tokens on S3 to a trained and measured model on S3, by the commands that a pod runs."""

import json
from pathlib import Path
from typing import Any

import pytest
from command import RECIPE, repoloom
from s3_servers import S3Server

from repoloom.store import open_store

PATHS = ("model/model.safetensors", "model/config.json", "model/tokenizer.json")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe, and its run to the end in a folder."""
    made = tmp_path_factory.mktemp("folder")
    (made / "recipe.yaml").write_text(RECIPE)
    result = repoloom("run", made / "recipe.yaml", "--out", made / "out")
    assert result.code == 0, result.err
    return made


def test_the_model_that_is_trained_and_measured_on_s3_is_the_one_of_a_folder(
    folder: Path, rclone_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment = rclone_server.environment()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    recipe, corpus, model = folder / "recipe.yaml", "s3://tests/path/corpus", "s3://tests/path/model"
    packed = repoloom("run", recipe, "--out", tmp_path, "--store", corpus, "--until", "pack", **environment)
    assert packed.code == 0, packed.err
    early = repoloom("eval", recipe, "--store", corpus, "--out", model, **environment)
    assert early.code == 2
    assert "holds no model that was trained" in early.err
    trained = repoloom("train", recipe, "--store", corpus, "--out", model, "--json", **environment)
    assert trained.code == 0, trained.err
    here, there = open_store(str(folder / "out")), open_store(model)
    assert all(there.read(path) == here.read(path) for path in PATHS)
    assert _timeless(trained.json) == _timeless(json.loads(here.read("training.json")))
    [manifest] = [key for key in there.list("train") if key.endswith("step-000000120.json")]
    assert there.exists(manifest.replace("step-000000120.json", "steps.jsonl"))
    measured = repoloom("eval", recipe, "--store", corpus, "--out", model, "--json", **environment)
    assert measured.code == 0, measured.err
    assert there.read("evaluation.json") == here.read("evaluation.json")
    there.delete("evaluation.json")
    with there.create("model/model.safetensors") as file:
        file.write(b"another's")
    refused = repoloom("eval", recipe, "--store", corpus, "--out", model, **environment)
    assert refused.code == 1
    assert "is not the model that training.json is of" in refused.err


def _timeless(trained: dict[str, Any]) -> dict[str, Any]:
    """A training's record without how long it took."""
    stages = [{**stage, "seconds": 0} for stage in trained["stages"]]
    return {**trained, "seconds": 0, "stages": stages}
