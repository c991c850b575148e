"""The model path: a model always stands beside the record that describes it, and results beside their data."""

import contextlib
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch

from repoloom import store as stores
from repoloom.corpus.dataset import Dataset
from repoloom.corpus.ledger import Ledger
from repoloom.corpus.manifest import Cut, Manifest
from repoloom.errors import ConflictError, InputError
from repoloom.heartbeat import Heartbeat, unheard
from repoloom.prompts import fim
from repoloom.recipe.corpus import Corpus
from repoloom.recipe.model import EvaluateParams
from repoloom.recipe.model_path import Stopped, evaluate_model, export_checkpoint, results_at, train_stages
from repoloom.recipe.results import StageName, Trained
from repoloom.recipe.training_stages import Pretrain
from repoloom.stages.tokenize.vocabulary import train as train_tokenizer
from repoloom.store import Naming, Store, open_store
from repoloom.store.folder import FolderStore
from repoloom.store.folders import sha256
from repoloom.training import loop
from repoloom.training.config import TrainParams
from repoloom.training.data import PackedDataset
from repoloom.training.loop import StepReport
from repoloom.training.parallel import SingleProcess
from repoloom.training.sizes import Architecture
from repoloom_inference.lineage import lineage

TOKENIZER = train_tokenizer(iter(["def add(a, b):\n    return a + b\n"]), 280)
SIZE = Architecture(
    hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1
)


def params(**changes: object) -> TrainParams:
    given = {"size": SIZE, "sequence_length": 128, "batch_size": 2, "micro_batch_size": 2, "steps": 2}
    return TrainParams.model_validate({**given, "learning_rate": 0.01, "warmup_steps": 1, **changes})


def dataset(step: str, version: int = 1) -> Dataset:
    cut = Cut(task_bytes=1, tasks=1)
    manifest = Manifest(step=step, version=version, params={}, inputs={}, tables={}, ledger=Ledger(), cut=cut)
    return Dataset("nowhere", manifest)


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    np.random.default_rng(0).integers(0, 250, (5, 128)).astype("<u2").tofile(tmp_path / "0.bin")
    np.ones((5, 128), "<u2").tofile(tmp_path / "0.idx")
    data = PackedDataset([tmp_path / "0.bin"], [tmp_path / "0.idx"], 128)
    monkeypatch.setattr(Corpus, "training_data", lambda *_: data)
    monkeypatch.setattr(Corpus, "held_out_files", lambda *_: [])
    vocabulary = TOKENIZER.get_vocab_size()
    return Corpus(dataset("pack"), TOKENIZER.to_str().encode(), vocabulary, dataset("split.heldout"), fim.Order.PSM)


class Seen:
    """A view that counts steps, and interrupts the first if it is told to."""

    def __init__(self, interrupts: bool = False) -> None:
        self.steps, self._interrupts = 0, interrupts

    def begin(self, stage: StageName, baseline: float) -> None:
        assert (stage, baseline > 0) == ("pretrain", True)

    def step(self, report: StepReport) -> None:
        self.steps += report.samples_consumed > 0
        if self._interrupts:
            signal.raise_signal(signal.SIGINT)


def trained(corpus: Corpus, out: Path, *, keep: bool = False, **changes: object) -> tuple[Trained, int]:
    """What training came to, and the steps it took this time."""
    seen = Seen()
    found = train_stages([Pretrain(params(**changes), corpus)], corpus, str(out), SingleProcess(), seen, keep=keep)
    assert isinstance(found, Trained)
    return found, seen.steps


def interrupted(corpus: Corpus, out: Path, **changes: object) -> Stopped:
    """Where a training stands that is asked to stop at its first step this time."""
    stages = [Pretrain(params(**changes), corpus)]
    stopped = train_stages(stages, corpus, str(out), SingleProcess(), Seen(interrupts=True))
    assert isinstance(stopped, Stopped)
    return stopped


def test_what_is_trained_is_not_trained_again_unless_its_weights_are_not_there(corpus: Corpus, tmp_path: Path) -> None:
    first, _ = trained(corpus, tmp_path / "out")
    weights = tmp_path / "out" / "model" / "model.safetensors"
    before = weights.read_bytes()
    assert trained(corpus, tmp_path / "out") == (first, 0)
    weights.write_bytes(b"another's")
    assert trained(corpus, tmp_path / "out") == (first, 0)
    assert weights.read_bytes() == before


def test_a_model_that_is_kept_stays_where_it_is_when_its_place_is_trained_anew(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first, _ = trained(corpus, out)
    kept, _ = trained(corpus, out, keep=True)
    assert kept == first.model_copy(update={"kept": f"models/{first.weights}"})
    other, _ = trained(corpus, out, learning_rate=0.02)
    assert other.weights != first.weights
    assert other.kept == ""
    store = open_store(str(out))
    assert sha256(store, f"{kept.kept}/model.safetensors") == first.weights
    assert sha256(store, "model/model.safetensors") == other.weights
    names = {path.name for path in (out / kept.kept).iterdir()}
    assert names == {"training.json", *(path.name for path in (out / "model").iterdir())}


def test_each_model_that_is_kept_tells_where_it_comes_from(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    models = [trained(corpus, out, keep=True, learning_rate=rate)[0] for rate in (0.01, 0.02)]
    assert models[0].weights != models[1].weights
    for model in models:
        found = lineage(f"{out}/{model.kept}", f"sha256:{model.weights}")
        assert found is not None
        assert (found.packed, found.identity, found.parameters) == (model.packed, model.identity, model.parameters)


@pytest.mark.parametrize("lost", ["", "training.json", "model.safetensors"])
def test_a_model_that_was_kept_and_is_not_there_whole_is_kept_again(corpus: Corpus, tmp_path: Path, lost: str) -> None:
    out = tmp_path / "out"
    kept, _ = trained(corpus, out, keep=True)
    folder = out / kept.kept
    before = _contents(folder)
    if lost:
        (folder / lost).unlink()
    else:
        shutil.rmtree(folder)
    assert trained(corpus, out, keep=True) == (kept, 0)
    assert _contents(folder) == before


def test_a_model_that_is_kept_is_not_written_again(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    kept, _ = trained(corpus, out, keep=True)
    before = _written(out / kept.kept)
    assert trained(corpus, out, keep=True) == (kept, 0)
    assert _written(out / kept.kept) == before


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _written(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in folder.iterdir()}


@pytest.mark.parametrize("record", ["training.json", "models/{weights}/training.json"])
def test_a_training_killed_as_it_keeps_its_model_keeps_it_the_next_time(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: str
) -> None:
    out = tmp_path / "out"
    first, _ = trained(corpus, out)
    with _killed_at(record.format(weights=first.weights), monkeypatch):
        trained(corpus, out, keep=True)
    kept, _ = trained(corpus, out, keep=True)
    assert kept.kept == f"models/{first.weights}"
    assert lineage(f"{out}/{kept.kept}", kept.weights) is not None


def test_a_copy_that_was_killed_among_its_files_is_made_whole(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    kept, _ = trained(corpus, out, keep=True)
    folder = out / kept.kept
    before = _contents(folder)
    (folder / "model.safetensors").unlink()
    (folder / "tokenizer.json").unlink()
    create = FolderStore.create

    def creating(
        store: FolderStore, key: Naming, heartbeat: Heartbeat = unheard
    ) -> contextlib.AbstractContextManager[BinaryIO]:
        if key == f"{kept.kept}/tokenizer.json":
            raise KeyboardInterrupt
        return create(store, key, heartbeat)

    with monkeypatch.context() as patched:
        patched.setattr(FolderStore, "create", creating)
        with pytest.raises(KeyboardInterrupt):
            trained(corpus, out, keep=True)
    assert sha256(open_store(str(folder)), "model.safetensors") == kept.weights
    assert trained(corpus, out, keep=True) == (kept, 0)
    assert _contents(folder) == before


def test_a_training_killed_as_it_exports_leaves_no_record_of_another_model(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    first, _ = trained(corpus, out)
    with _killed_at("training.json", monkeypatch):
        trained(corpus, out, learning_rate=0.02)
    assert not (out / "training.json").exists()
    assert trained(corpus, out)[0] == first
    assert sha256(open_store(str(out)), "model/model.safetensors") == first.weights


@contextlib.contextmanager
def _killed_at(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the block does is killed as it writes that."""
    write = stores.write

    def writing(store: Store, key: str, content: bytes) -> None:
        if key == name:
            raise KeyboardInterrupt
        write(store, key, content)

    with monkeypatch.context() as patched:
        patched.setattr(stores, "write", writing)
        with pytest.raises(KeyboardInterrupt):
            yield


@pytest.mark.parametrize("asked", [1, 2, 3])
def test_a_training_whose_output_is_anothers_saves_and_puts_nothing_there(
    corpus: Corpus, tmp_path: Path, asked: int
) -> None:
    """It asks before its checkpoint, its export and the model."""
    out = tmp_path / "out"
    theirs, _ = trained(corpus, out, learning_rate=0.02)
    with pytest.raises(ConflictError):
        _fenced(corpus, out, lost_at=asked)
    assert trained(corpus, out, learning_rate=0.02) == (theirs, 0)
    assert len(list((out / "train").iterdir())) == (1 if asked == 1 else 2)


def test_a_training_that_loses_its_output_as_it_puts_the_model_puts_no_record_of_it(
    corpus: Corpus, tmp_path: Path
) -> None:
    with pytest.raises(ConflictError):
        _fenced(corpus, tmp_path / "out", lost_at=4)
    assert (tmp_path / "out" / "model").exists()
    assert not (tmp_path / "out" / "training.json").exists()


def _fenced(corpus: Corpus, out: Path, lost_at: int) -> None:
    """A training whose output is somebody else's when it asks so often."""
    asked = iter(range(1, 99))

    def fence() -> None:
        if next(asked) == lost_at:
            raise ConflictError("another's")

    train_stages([Pretrain(params(), corpus)], corpus, str(out), SingleProcess(), Seen(), fence=fence)


def test_a_training_that_is_asked_to_stop_says_where_it_stands_and_goes_on_from_there(
    corpus: Corpus, tmp_path: Path
) -> None:
    stopped = interrupted(corpus, tmp_path / "out")
    assert (stopped.stage, stopped.step, stopped.steps) == ("pretrain", 1, 2)
    assert Path(stopped.checkpoint).is_file()
    assert trained(corpus, tmp_path / "out")[1] == 1


def test_a_training_that_goes_on_by_other_software_says_so_once(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    interrupted(corpus, tmp_path / "out", steps=4)
    interrupted(corpus, tmp_path / "out", steps=4)
    monkeypatch.setattr(loop, "kernel", lambda _: "another kernel")
    interrupted(corpus, tmp_path / "out", steps=4)
    trained(corpus, tmp_path / "out", steps=4)
    (said,) = [said for record in caplog.records if "goes on by" in (said := record.getMessage())]
    before, _, after = said.partition("goes on by")
    assert "step 2 by" in before
    assert "torch's attention" in before
    assert "another kernel" in after


def test_an_export_passes_over_a_damaged_checkpoint_and_leaves_all_as_it_is(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    trained(corpus, out, checkpoint_every=1)
    (damaged,) = out.glob("train/*/step-000000002.model.safetensors")
    damaged.write_bytes(b"damaged")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    stages = [Pretrain(params(checkpoint_every=1), corpus)]
    assert export_checkpoint(stages, corpus, str(out), tmp_path / "model", torch.float32) == ("pretrain", 1)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_report_shows_only_results_of_the_datasets_it_is_of(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found, _ = trained(corpus, out)
    measured = evaluate_model(EvaluateParams(), found, 0, corpus, str(out))
    training, evaluation = results_at(str(out), [corpus.packed, corpus.heldout])
    assert training is not None
    assert len(training.steps) == 2
    assert evaluation == measured
    assert results_at(str(out), [corpus.packed])[1] is None
    assert results_at(str(out), [dataset("pack", version=2), corpus.heldout]) == (None, None)
    trained(corpus, out, learning_rate=0.02)
    training, evaluation = results_at(str(out), [corpus.packed, corpus.heldout])
    assert training is not None
    assert evaluation is None


def test_a_run_without_packed_tokens_says_which_step_is_missing() -> None:
    with pytest.raises(InputError, match=r"'tokenize.vocabulary'.*--until pack"):
        Corpus.of({"split.heldout": dataset("split.heldout")})


def test_threads_and_micro_batches_make_another_run(corpus: Corpus, tmp_path: Path) -> None:
    first, _ = trained(corpus, tmp_path / "out")
    assert trained(corpus, tmp_path / "out", threads=1)[0].identity != first.identity
    assert trained(corpus, tmp_path / "out", micro_batch_size=1)[0].identity != first.identity
    assert trained(corpus, tmp_path / "out", checkpoint_every=1)[0].identity == first.identity


def test_a_gradient_that_is_not_finite_moves_no_weight(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(float("nan")))
    with pytest.raises(InputError, match="norm of its gradient nan"):
        trained(corpus, tmp_path / "out")
