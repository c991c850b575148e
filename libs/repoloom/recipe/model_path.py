"""From packed tokens to a measured model: train, export, evaluate; nothing is made twice from the same inputs."""

import hashlib
import heapq
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import JsonValue

from repoloom import store as stores
from repoloom.corpus.dataset import Dataset
from repoloom.corpus.manifest import Record, canonical_json
from repoloom.errors import InputError
from repoloom.evaluation.compare import compare, untrained
from repoloom.evaluation.held_out import HeldOutFile, draw_holes
from repoloom.evaluation.result import Evaluation
from repoloom.evaluation.unigram import unigram_nats
from repoloom.inference.complete import Completer
from repoloom.prompts import fim
from repoloom.recipe.model import EvaluateParams
from repoloom.report import TrainingRecord, TrainingStep
from repoloom.store import open_store
from repoloom.training.checkpoint import Checkpoints
from repoloom.training.config import TrainParams
from repoloom.training.data import PackedDataset
from repoloom.training.export import export
from repoloom.training.loop import StepReport, new_model, new_optimizer, run_identity, train
from repoloom.training.parallel import SingleProcess

TRAINING, EVALUATION, MODEL = "training.json", "evaluation.json", "model"
_STEPS = "steps.jsonl"


class Trained(Record):
    """What a training run ended with, kept beside the model as training.json."""

    identity: str  # of parameters and data
    parameters: int
    unigram_loss: float  # nats a token that the tokens' frequencies alone reach on the same data
    final_loss: float  # mean over the last twentieth of the steps
    steps: int
    seconds: float  # summed over the steps


class Evaluated(Record):
    """An evaluation and what it was made from, kept as evaluation.json."""

    identity: str
    evaluation: Evaluation


@dataclass(frozen=True)
class Corpus:
    """What the data path made, as training and evaluation read it."""

    packed: Dataset
    tokenizer: bytes
    vocabulary: int
    heldout: Dataset
    fim_order: fim.Order

    @classmethod
    def of(cls, datasets: dict[str, Dataset]) -> "Corpus":
        """From the datasets of a run, by step."""
        row = datasets["tokenize.vocabulary"].reader("tokenizer").table().to_pylist()[0]
        order = fim.Order(str(datasets["tokenize"].manifest.params["fim_order"]))
        return cls(datasets["pack"], row["json"], row["vocab_size"], datasets["split.heldout"], order)

    def training_data(self) -> PackedDataset:
        """The packed sequences, their digests checked. Raises CorruptDataError."""
        self.packed.verify()
        length = self.packed.manifest.params["sequence_length"]
        assert isinstance(length, int)
        shards, indexes = (
            [self.packed.local_path(part) for part in self.packed.parts(table)] for table in ("shards", "index")
        )
        return PackedDataset(shards, indexes, length)

    def held_out_files(self, most_bytes: int, seed: int) -> list[HeldOutFile]:
        """Held-out files drawn by the hash of seed and name, up to so many bytes; memory grows with these alone."""
        chosen: list[tuple[int, str, str, int, HeldOutFile]] = []
        held = 0
        for file in self._held_out():
            key = f"{seed}/{file.repo}/{file.path}".encode()
            draw = int.from_bytes(hashlib.blake2b(key, digest_size=8, person=b"repoloom.eval").digest(), "big")
            size = len(file.content.encode())
            heapq.heappush(chosen, (-draw, file.repo, file.path, size, file))
            held += size
            while held > most_bytes and len(chosen) > 1:
                held -= heapq.heappop(chosen)[3]
        return sorted((entry[4] for entry in chosen), key=lambda file: (file.repo, file.path))

    def _held_out(self) -> Iterator[HeldOutFile]:
        for batch in self.heldout.batches("heldout"):
            for row in batch.select(["repo", "text", "spans"]).to_pylist():
                for span in row["spans"]:
                    header, content = (
                        row["text"][span["head"] : span["start"]],
                        row["text"][span["start"] : span["end"]],
                    )
                    yield HeldOutFile(row["repo"], span["path"], span["language"], header.decode(), content.decode())


def train_model(
    params: TrainParams, corpus: Corpus, out: Path, begin: Callable[[float], None], report: Callable[[StepReport], None]
) -> Trained | None:
    """Trains, or goes on training, and exports to OUT/model. None where it was asked to stop before the end.

    `begin` is told the unigram baseline before the first step.
    """
    store = open_store(str(out))
    identity = run_identity(params, corpus.vocabulary, corpus.packed.digest)
    if store.exists(TRAINING):
        trained = Trained.model_validate_json(store.read(TRAINING))
        if trained.identity == identity and (out / MODEL).is_dir():
            return trained
    data = corpus.training_data()
    baseline = unigram_nats(data, data, corpus.vocabulary)
    begin(baseline)
    folder = _training_folder(out, identity)
    log = _StepLog(folder / _STEPS)

    def note(step: StepReport) -> None:
        log.add(step)
        report(step)

    outcome = train(
        params,
        data,
        data_digest=corpus.packed.digest,
        vocabulary=corpus.vocabulary,
        checkpoints=Checkpoints(folder, params.keep),
        plan=SingleProcess(),
        report=note,
    )
    if not outcome.finished:
        return None
    shutil.rmtree(out / MODEL, ignore_errors=True)
    export(outcome.model, corpus.tokenizer, out / MODEL, fim_order=corpus.fim_order)
    steps = log.read()
    last = steps[-max(1, len(steps) // 20) :]
    trained = Trained(
        identity=identity,
        parameters=sum(parameter.numel() for parameter in outcome.model.parameters()),
        unigram_loss=baseline,
        final_loss=sum(step.loss for step in last) / len(last),
        steps=len(steps),
        seconds=round(sum(params.batch_size * params.sequence_length / step.tokens_per_second for step in steps), 3),
    )
    stores.write(store, TRAINING, trained.model_dump_json(indent=1).encode())
    return trained


def export_checkpoint(params: TrainParams, corpus: Corpus, out: Path, to: Path, dtype: torch.dtype) -> int:
    """Exports a run's newest checkpoint, finished or not; returns its step. Raises InputError where there is none."""
    identity = run_identity(params, corpus.vocabulary, corpus.packed.digest)
    model = new_model(params.architecture(corpus.vocabulary), params.seed)
    checkpoints = Checkpoints(_training_folder(out, identity), params.keep)
    progress = checkpoints.restore(model, new_optimizer(model, params), identity)
    if not progress.step:
        raise InputError(f"{out} has no checkpoint of this recipe; `repoloom train` makes one")
    export(model, corpus.tokenizer, to, dtype, corpus.fim_order)
    return progress.step


def evaluate_model(params: EvaluateParams, trained: Trained, seed: int, corpus: Corpus, out: Path) -> Evaluation:
    """Measures OUT/model and its untrained twin on held-out repositories."""
    store = open_store(str(out))
    inputs: list[JsonValue] = [params.model_dump(mode="json"), trained.identity, corpus.heldout.digest]
    identity = "sha256:" + hashlib.sha256(canonical_json(inputs)).hexdigest()
    if store.exists(EVALUATION):
        evaluated = Evaluated.model_validate_json(store.read(EVALUATION))
        if evaluated.identity == identity:
            return evaluated.evaluation
    completer = Completer.load(out / MODEL)
    files = corpus.held_out_files(params.max_bytes, params.seed)
    holes = draw_holes(files, params.holes, params.seed)
    evaluation = compare(completer, untrained(completer, seed), files, holes)
    stores.write(
        store, EVALUATION, Evaluated(identity=identity, evaluation=evaluation).model_dump_json(indent=1).encode()
    )
    return evaluation


def training_record(out: Path) -> TrainingRecord | None:
    """The finished training at an address, step by step; None where there is none."""
    store = open_store(str(out))
    if not store.exists(TRAINING):
        return None
    trained = Trained.model_validate_json(store.read(TRAINING))
    steps = _StepLog(_training_folder(out, trained.identity) / _STEPS).read()
    return TrainingRecord(
        parameters=trained.parameters, unigram_loss=trained.unigram_loss, steps=tuple(steps), seconds=trained.seconds
    )


def evaluation_at(out: Path) -> Evaluation | None:
    """The evaluation at an address; None where there is none."""
    store = open_store(str(out))
    return Evaluated.model_validate_json(store.read(EVALUATION)).evaluation if store.exists(EVALUATION) else None


def _training_folder(out: Path, identity: str) -> Path:
    return out / "train" / identity.removeprefix("sha256:")[:16]


class _StepLog:
    """The steps of a run as JSON lines; a resumed run writes the steps after its checkpoint anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begun = False

    def add(self, report: StepReport) -> None:
        if not self._begun:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            before = [step for step in self.read() if step.step < report.step]
            self._path.write_text("".join(step.model_dump_json() + "\n" for step in before))
            self._begun = True
        fields = {name: getattr(report, name) for name in TrainingStep.model_fields}
        with self._path.open("a") as file:
            file.write(json.dumps(fields) + "\n")

    def read(self) -> list[TrainingStep]:
        if not self._path.exists():
            return []
        lines = self._path.read_text().splitlines(keepends=True)
        return [TrainingStep.model_validate_json(line) for line in lines if line.endswith("\n")]
