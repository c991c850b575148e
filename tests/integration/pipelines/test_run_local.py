"""A pipeline run here makes what `repoloom run` makes, and Kubeflow is told what."""

import json
import shutil
from pathlib import Path

import pytest
from pipe import Whole, commits, made, outputs, repoloom

from repoloom.errors import InputError
from repoloom.recipe.results import Trained
from repoloom.recipe.run import verify
from repoloom_pipelines.model_path import find_base


def trained(store: Path) -> Trained:
    return Trained.model_validate_json((store / "training.json").read_text())


def test_the_whole_pipeline_makes_what_repoloom_run_makes(whole: Whole, plain: Path) -> None:
    assert made(whole.store) == made(plain)
    assert verify(str(whole.store))
    stages = [trained(out).stages for out in (whole.store, plain)]
    assert [stage.stage for stage in stages[0]] == ["pretrain", "extend", "instruct"]
    assert [stage.weights for stage in stages[0]] == [stage.weights for stage in stages[1]]
    assert json.loads((whole.store / "evaluation.json").read_text()) == json.loads(
        (plain / "evaluation.json").read_text()
    )


def test_every_stage_tells_its_dataset_and_its_part_of_the_funnel(whole: Whole) -> None:
    digests = made(whole.store)
    said = outputs(whole.root)
    for stage in ("crawl", "filter", "order", "quality", "decontaminate", "split", "tokenize", "mix", "pack"):
        dataset, metrics = said[stage]["dataset"], said[stage]["metrics"]["metadata"]
        assert dataset["uri"] == str(whole.store / stage)
        assert dataset["metadata"]["digest"] == digests[stage]
        assert metrics["entering"] == metrics["kept"] + metrics["dropped"]
    assert said["dedup"]["dataset"]["metadata"]["digest"] == digests["dedup.survivors"]
    filtered, ordered = said["filter"]["metrics"]["metadata"], said["order"]["metrics"]["metadata"]
    assert filtered["dropped"] > 0
    assert filtered["dropped"] == sum(count for name, count in filtered.items() if name.startswith("dropped_"))
    assert ordered["entering"] == filtered["kept"]
    manifest = json.loads((whole.store / "pack" / "manifest.json").read_text())
    assert said["pack"]["dataset"]["metadata"]["rows"] == sum(t["rows"] for t in manifest["tables"].values())
    assert said["pack"]["dataset"]["metadata"]["bytes"] == sum(t["bytes"] for t in manifest["tables"].values())


def test_the_model_its_scores_and_the_report_are_told(whole: Whole) -> None:
    found = json.loads((whole.store / "training.json").read_text())
    said = outputs(whole.root)
    model = said["train"]["model"]
    assert model["uri"] == str(whole.store / "model")
    assert model["metadata"] == {
        "weights": found["weights"],
        "corpus": made(whole.store)["pack"],
        "parameters": found["parameters"],
    }
    metrics = said["train"]["metrics"]["metadata"]
    assert metrics["loss"] == found["final_loss"]
    assert (metrics["pretrain_steps"], metrics["extend_steps"]) == (12, 3)
    overall = json.loads((whole.store / "evaluation.json").read_text())["evaluation"]["overall"]
    assert said["evaluate"]["metrics"]["metadata"]["trained_bits_per_byte"] == overall["trained"]["bits_per_byte"]
    for task in ("evaluate", "report"):
        assert "bits" in Path(said[task]["page"]["uri"]).read_text()
    assert (whole.store / "report.html").read_text() == Path(said["report"]["page"]["uri"]).read_text()


def test_pretraining_and_evaluation_go_on_from_what_lies_in_the_store(whole: Whole) -> None:
    before = {name: (whole.store / name).read_text() for name in ("training.json", "evaluation.json", "run.json")}
    committed = commits(whole.store)
    for pipeline in ("pretraining", "evaluation"):
        ended = repoloom(
            "pipeline", "run-local", whole.recipe, "--store", whole.store, "--pipeline", pipeline, "--json"
        )
        assert ended.code == 0, ended.err
        assert json.loads(ended.out)["digest"] == made(whole.store)["pack"]
    assert {name: (whole.store / name).read_text() for name in before} == before
    assert commits(whole.store) == committed


def test_fine_tuning_goes_on_from_the_model_of_a_store(whole: Whole, tmp_path: Path) -> None:
    store, recipe = tmp_path / "store", tmp_path / "other.yaml"
    shutil.copytree(whole.store, store)
    before, checkpoints = trained(store), set((store / "train").iterdir())
    recipe.write_text(whole.recipe.read_text().replace("epochs: 1", "epochs: 2"))
    ended = repoloom("pipeline", "run-local", recipe, "--store", store, "--pipeline", "fine-tuning")
    assert ended.code == 0, ended.err
    after = trained(store)
    assert after.stages[:2] == before.stages[:2]
    assert (before.stages[2].steps, after.stages[2].steps) == (5, 9)  # of 9 conversations, a sequence each
    assert len(set((store / "train").iterdir()) - checkpoints) == 1
    assert json.loads((store / "evaluation.json").read_text())["weights"] == after.weights != before.weights
    assert "Stage by stage" in (store / "report.html").read_text()


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("  steps: 12", "  steps: 13", "no model of the recipe's stage pretrain; run the pipeline pretraining first"),
        ("steps: 3", "steps: 4", "no model of the recipe's stage extend; run the pipeline pretraining first"),
        ("instruct: ", "evaluate: {}  # ", "the recipe has no `instruct` section"),
    ],
)
def test_there_is_nothing_to_tune_where_the_model_is_not_the_recipes(
    whole: Whole, before: str, after: str, why: str
) -> None:
    text = whole.recipe.read_text()
    assert before in text
    text = text.replace(before, after)
    if after.startswith("evaluate"):
        text = text[: text.rindex("evaluate:")]
    with pytest.raises(InputError, match=why):
        find_base(text, str(whole.store))


def test_there_is_nothing_to_evaluate_in_an_empty_store_and_nothing_is_left_of_the_try(
    recipe: Path, tmp_path: Path
) -> None:
    (scratch := tmp_path / "scratch").mkdir()
    arguments = ("pipeline", "run-local", recipe, "--store", tmp_path / "empty", "--pipeline", "evaluation")
    ended = repoloom(*arguments, TMPDIR=str(scratch))
    assert ended.code == 1
    assert "holds no run" in ended.err
    assert ended.err.strip().splitlines()[-1].startswith("error: ")
    assert not list(scratch.iterdir())


def test_where_a_task_fails_the_report_of_what_was_made_is_written_all_the_same(recipe: Path, tmp_path: Path) -> None:
    greedy = tmp_path / "greedy.yaml"
    greedy.write_text("min_repositories: 99\n" + recipe.read_text())
    ended = repoloom("pipeline", "run-local", greedy, "--store", tmp_path / "store", "--pipeline", "corpus")
    assert ended.code == 1
    assert "the recipe wants at least 99" in ended.err
    assert "crawl" in (tmp_path / "store" / "report.html").read_text()
