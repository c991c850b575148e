"""The stages of a training follow each other, each is done once, and what is killed goes on to the same weights."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import torch
from processes import READY
from run_stages import STOLEN, Seen, begin, corpus_of, train, train_and_die, write_run
from torch import distributed

from repoloom.errors import InputError
from repoloom.inference.complete import Completer
from repoloom.recipe import model_path
from repoloom.recipe.model import EvaluateParams, Recipe
from repoloom.recipe.model_path import (
    Stopped,
    evaluate_model,
    export_checkpoint,
    results_at,
    train_stages,
    trained_at,
)
from repoloom.recipe.results import Trained
from repoloom.recipe.run import datasets_at
from repoloom.recipe.training_stages import stages_of
from repoloom.store import open_store
from repoloom.store.folders import sha256
from repoloom.training import progress_file
from repoloom.training.parallel import SingleProcess
from repoloom.training.progress import TrainingProgress
from repoloom.training.progress_file import ProgressFile
from repoloom_inference.lineage import lineage

STEPS = {"pretrain": 6, "extend": 4}
RANKS = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stages")
    write_run(folder)
    return folder


@pytest.fixture(scope="module")
def out(folder: Path) -> Path:
    """The output of a training that nothing interrupted."""
    _, steps = train(folder / "recipe.yaml", folder / "run", folder / "out")
    assert steps == {**STEPS, "instruct": steps["instruct"]}
    return folder / "out"


def record(out: Path) -> Trained:
    return Trained.model_validate_json((out / "training.json").read_text())


def changed(folder: Path, name: str, *changes: tuple[str, str]) -> Path:
    """The recipe with some text replaced."""
    text = (folder / "recipe.yaml").read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    (folder / name).write_text(text)
    return folder / name


def without_instruct(folder: Path) -> Path:
    text = (folder / "recipe.yaml").read_text()
    section = text[text.index("instruct:") : text.index("evaluate:")]
    return changed(folder, "base.yaml", (section, ""))


def without_later_stages(folder: Path) -> Path:
    text = (folder / "recipe.yaml").read_text()
    sections = text[text.index("extend:") : text.index("evaluate:")]
    return changed(folder, "first.yaml", (sections, ""))


def test_every_stage_is_told_and_its_model_kept(folder: Path, out: Path) -> None:
    trained = record(out)
    pretrain, extend, instruct = trained.stages
    assert [stage.stage for stage in trained.stages] == ["pretrain", "extend", "instruct"]
    assert [stage.tokens for stage in trained.stages[:2]] == [6 * 4 * 64, 4 * 2 * 256]
    assert pretrain.data == trained.packed == corpus_of(folder / "run").packed.digest
    assert (trained.weights, trained.final_loss, trained.steps) == (
        instruct.weights, instruct.final_loss, instruct.steps,
    )  # fmt: skip
    store = open_store(str(out))
    assert sha256(store, "model/model.safetensors") == instruct.weights
    assert lineage(f"{out}/model", instruct.weights) is not None
    for stage in (pretrain, extend):
        assert sha256(store, f"stages/{stage.stage}/model/model.safetensors") == stage.weights
        assert lineage(f"{out}/stages/{stage.stage}/model", stage.weights) is not None
    progress = json.loads((out / "training-progress.json").read_text())
    assert (progress["state"], progress["stage"], progress["step"]) == ("done", "instruct", instruct.steps)


def test_the_context_is_extended_once_and_only_the_last_model_answers(out: Path) -> None:
    configs, templates = [], []
    for model in ("stages/pretrain/model", "stages/extend/model", "model"):
        config = json.loads((out / model / "config.json").read_text())
        configs.append((config["max_position_embeddings"], config["rope_theta"], config["rope_scaling"]))
        templates.append(json.loads((out / model / "tokenizer_config.json").read_text()).get("chat_template"))
    linear = {"type": "linear", "rope_type": "linear", "factor": 4.0}
    assert configs == [(64, 10_000.0, None), (256, 100_000.0, linear), (256, 100_000.0, linear)]
    assert templates[:2] == [None, None]
    assert "You answer." in templates[2]


def test_longer_sequences_have_longer_pieces(folder: Path, out: Path) -> None:
    from repoloom.corpus.dataset import Dataset

    longest = [
        max(dataset.reader("placed").table()["size"].to_pylist())
        for dataset in (corpus_of(folder / "run").packed, Dataset.open(f"{out}/extend/pack"))
    ]
    assert longest[0] <= 64 < longest[1] <= 256


def test_conversations_that_are_left_out_are_counted_and_named(out: Path) -> None:
    counts = record(out).stages[2].conversations
    assert counts is not None
    assert counts.model_dump() == {"read": 15, "contaminated": 1, "too_long": 1, "kept": 13}
    stolen, long = map(json.loads, (out / "instruct" / "dropped.jsonl").read_text().splitlines())
    assert (stolen["line"], stolen["rule"], stolen["detail"]) == (13, "benchmark", f"theirs 0 prompt: {STOLEN[:-9]}")
    assert (long["line"], long["rule"]) == (14, "too_long")


def test_what_is_killed_again_and_again_ends_with_the_same_weights(folder: Path, out: Path) -> None:
    chance, killed = random.Random(4), []
    for moment in (6, 17, *(chance.randint(12, 30) for _ in range(4)), 10**9):
        training = READY.Process(target=train_and_die, args=(folder / "run", folder / "killed", moment))
        training.start()
        training.join()
        if training.exitcode == 0:
            break
        assert training.exitcode == -signal.SIGKILL
        killed.append(json.loads((folder / "killed" / "training-progress.json").read_text())["stage"])
    assert training.exitcode == 0
    assert set(killed) == {"pretrain", "extend", "instruct"}
    assert [stage.weights for stage in record(folder / "killed").stages] == [
        stage.weights for stage in record(out).stages
    ]
    for model in ("model", "stages/extend/model"):
        for file in (out / model).iterdir():
            assert file.read_bytes() == (folder / "killed" / model / file.name).read_bytes()


@pytest.mark.parametrize("step", [3, 6])
def test_who_is_asked_to_stop_begins_no_other_stage(folder: Path, out: Path, tmp_path: Path, step: int) -> None:
    stopped = begin(folder / "recipe.yaml", folder / "run", tmp_path, Seen(interrupts_at=step))
    assert isinstance(stopped, Stopped)
    assert (stopped.stage, stopped.step, stopped.steps) == ("pretrain", step, 6)
    progress = json.loads((tmp_path / "training-progress.json").read_text())
    assert (progress["state"], progress["stage"], progress["step"]) == ("stopped", "pretrain", step)
    trained, steps = train(folder / "recipe.yaml", folder / "run", tmp_path)
    assert steps.get("pretrain", 0) == 6 - step
    assert trained.weights == record(out).weights


def test_a_stage_that_changes_is_done_again_and_those_before_it_are_not(folder: Path, out: Path) -> None:
    again = folder / "again"
    shutil.copytree(out, again)
    assert train(folder / "recipe.yaml", folder / "run", again)[1] == {}
    first = record(again).stages
    trained, steps = train(changed(folder, "r.yaml", ("You answer.", "You reply.")), folder / "run", again)
    assert set(steps) == {"instruct"}
    assert trained.stages[:2] == first[:2]
    assert trained.weights != first[2].weights
    _, steps = train(changed(folder, "r.yaml", ("steps: 4", "steps: 5")), folder / "run", again)
    assert steps["extend"] == 5
    assert set(steps) == {"extend", "instruct"}


def test_a_stage_that_is_long_prepared_is_seen_to_get_on_and_one_that_is_done_stays_so(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[TrainingProgress] = []
    exported: list[int] = []
    export = model_path.export
    monkeypatch.setattr(
        model_path, "export", lambda *given, **options: (exported.append(len(written)), export(*given, **options))
    )
    write = ProgressFile._write
    monkeypatch.setattr(progress_file, "INTERVAL", 0)
    monkeypatch.setattr(ProgressFile, "_write", lambda told: (written.append(told._progress), write(told)))
    again = Path(shutil.copytree(out, folder / "seen"))
    done = (again / "training-progress.json").read_text()
    train(folder / "recipe.yaml", folder / "run", again)
    packed = [("extend", 0, pieces) for pieces in range(1, 5)]
    prepared = [("pretrain", 0, 1), *packed, ("instruct", record(out).steps, 1)]
    assert [(at.stage, at.step, at.prepared) for at in written if at.state == "running"] == prepared
    assert (again / "training-progress.json").read_text() == done
    written.clear()
    train(changed(folder, "r.yaml", ("steps: 6", "steps: 7")), folder / "run", again)
    assert {at.stage for at in written if at.prepared > 3 and not at.step} == {"pretrain", "extend", "instruct"}
    assert all(written[at].prepared > written[at - 1].prepared for at in exported)
    assert len(exported) == 3


def test_a_recipe_may_get_a_stage_and_lose_it_again_without_training_anew(folder: Path, out: Path) -> None:
    base, grown = without_instruct(folder), folder / "grown"
    trained, steps = train(base, folder / "run", grown)
    assert steps == STEPS
    assert (trained.stages[-1].stage, trained.weights) == ("extend", record(out).stages[1].weights)
    shutil.rmtree(grown / "train")  # even where the checkpoints are gone, the model is there
    tuned, steps = train(folder / "recipe.yaml", folder / "run", grown)
    assert set(steps) == {"instruct"}
    assert tuned.weights == record(out).weights
    assert train(base, folder / "run", grown) == (trained, {})
    assert record(grown) == trained
    assert sha256(open_store(str(grown)), "model/model.safetensors") == trained.weights


def test_a_line_that_is_no_conversation_is_told_before_anything_is_trained(folder: Path) -> None:
    broken = folder / "broken.jsonl"
    broken.write_text('{"prompt": "a", "completion": "b"}\n{"prompt": "a"}\n')
    recipe = changed(folder, "broken.yaml", (str(folder / "chat.jsonl"), str(broken)))
    line = next(n for n, text in enumerate(recipe.read_text().splitlines(), 1) if "broken" in text)
    with pytest.raises(InputError, match=f"broken.yaml:{line}: instruct.sources.0.path: {broken}:2: give `messages`"):
        train(recipe, folder / "run", folder / "unbegun")
    assert not (folder / "unbegun").exists()


def test_the_example_of_the_documentation_is_trained(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[3] / "docs" / "recipes.md").read_text()
    (example,) = (block.partition("```")[0] for block in text.split("```yaml\n") if block.startswith("extend:"))
    (tmp_path / "data").mkdir()
    shutil.copy(folder / "chat.jsonl", tmp_path / "data")
    (tmp_path / "recipe.yaml").write_text(without_later_stages(folder).read_text() + example)
    monkeypatch.chdir(tmp_path)
    trained, steps = train(Path("recipe.yaml"), folder / "run", tmp_path / "out")
    assert steps["extend"] == 20
    assert trained.stages[2].conversations is not None
    assert trained.stages[2].conversations.kept == 13


def test_a_batch_that_ranks_cannot_share_is_refused_before_the_first_stage(folder: Path, tmp_path: Path) -> None:
    plan = SingleProcess()
    plan.ranks = 2  # type: ignore[misc]
    corpus = corpus_of(folder / "run")
    recipe = changed(folder, "batch.yaml", ("batch_size: 2\n  epochs", "batch_size: 3\n  epochs"))
    with pytest.raises(InputError, match="batch_size 3"):
        train_stages(stages_of(Recipe.load(recipe), corpus, str(tmp_path)), corpus, str(tmp_path), plan, Seen())
    assert not any(tmp_path.iterdir())


def test_a_warm_up_that_is_longer_than_the_training_is_refused(folder: Path, out: Path) -> None:
    recipe = changed(folder, "warm.yaml", ("warmup_steps: 1\n", "warmup_steps: 1000\n"))
    with pytest.raises(InputError, match="instruct: warmup_steps 1000 leave none of the"):
        train(recipe, folder / "run", shutil.copytree(out, folder / "warm"))


def test_the_last_model_is_what_is_measured_reported_and_exported(folder: Path, out: Path, tmp_path: Path) -> None:
    corpus = corpus_of(folder / "run")
    evaluation = evaluate_model(
        EvaluateParams(holes=2, max_bytes=2000), trained_at(str(out), corpus), 0, corpus, str(out)
    )
    shown, measured = results_at(str(out), datasets_at(str(folder / "run")))
    assert measured == evaluation
    assert shown is not None
    assert len(shown.steps) == STEPS["pretrain"]
    assert [stage.stage for stage in shown.stages] == ["pretrain", "extend", "instruct"]
    assert (shown.stages[2].conversations, shown.stages[2].left_out) == (13, 2)
    stages = stages_of(Recipe.load(folder / "recipe.yaml"), corpus, str(out))
    exported = export_checkpoint(stages, corpus, str(out), tmp_path / "model", torch.float32)
    assert exported == ("instruct", record(out).steps)
    weights = (tmp_path / "model" / "model.safetensors").read_bytes()
    assert weights == (out / "model" / "model.safetensors").read_bytes()
    assert Completer.load(out / "model").model.architecture.max_position_embeddings == 256


@contextmanager
def repoloom(*arguments: object, by: tuple[str, ...] = (), **given: str) -> Iterator["subprocess.Popen[str]"]:
    """A command line in processes of its own."""
    command = [sys.executable, *by, "-m", "repoloom", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "1000", **given}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def ranks_of_none() -> Iterator[dict[str, str]]:
    """How two ranks know each other that nothing ends but they themselves."""
    store = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    known = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": "2"}
    yield {**known, "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_MAX_RESTARTS": "0"}


def test_an_output_that_is_trained_at_is_refused_to_others_that_would_write_there(folder: Path, tmp_path: Path) -> None:
    long, out = changed(folder, "long.yaml", ("steps: 6", "steps: 10000000")), tmp_path / "out"
    given = (long, "--store", folder / "run", "--out", out)
    with repoloom("train", *given) as training:
        while not list(out.glob("train/*/step-*.json")):
            assert training.poll() is None
            time.sleep(0.05)
        training.send_signal(signal.SIGSTOP)  # it holds what it holds, and leaves the cores to others
        held = f"{out} is in use by process {training.pid} on {os.uname().nodename}; wait until it ends, or stop it"
        for command in ("train", "eval"):
            with repoloom(command, *given) as refused:
                assert held in refused.communicate()[1]
                assert refused.returncode == 1
        with repoloom("train", *given, "--parallel", "zero1", by=RANKS) as refused:
            said = refused.communicate()[1]
            assert held in said
            assert "exitcode  : 1 " in said  # the other rank may have ended so, or by torchrun's SIGTERM
        with ranks_of_none() as known, ExitStack() as begun:
            command = ("train", *given, "--parallel", "zero1")
            both = [begun.enter_context(repoloom(*command, **known, RANK=rank, LOCAL_RANK=rank)) for rank in "01"]
            for refused in both:
                assert held in refused.communicate()[1]
                assert refused.returncode == 1
        training.terminate()
        training.send_signal(signal.SIGCONT)
        training.communicate()
        assert training.returncode == 130


@pytest.mark.parametrize("parallel", ["zero1", "zero3"])
def test_ranks_train_all_stages_as_one_process_does(folder: Path, out: Path, parallel: str) -> None:
    to = folder / parallel
    command = ("train", folder / "recipe.yaml", "--store", folder / "run", "--out", to, "--parallel", parallel)
    with repoloom(*command, by=RANKS) as training:
        _, said = training.communicate()
        assert training.returncode == 0, said
    alone, together = record(out), record(to)
    for one, other in zip(alone.stages, together.stages, strict=True):
        assert (one.stage, one.data, one.steps) == (other.stage, other.data, other.steps)
        assert other.final_loss == pytest.approx(one.final_loss, rel=1e-4)
