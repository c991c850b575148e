"""From packed tokens to a measured model: train, export, evaluate; nothing is made twice from the same inputs."""

import hashlib
import heapq
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import JsonValue, ValidationError

from repoloom import store as stores
from repoloom.corpus.dataset import Dataset
from repoloom.corpus.local_copies import scratch_errors
from repoloom.corpus.manifest import Record, canonical_json
from repoloom.errors import CorruptDataError, InputError
from repoloom.evaluation.compare import Watch, compare, untrained
from repoloom.evaluation.held_out import HeldOutFile, draw_holes
from repoloom.evaluation.result import Evaluation
from repoloom.evaluation.unigram import unigram_entropy
from repoloom.inference.complete import Completer
from repoloom.prompts import fim
from repoloom.recipe.model import EvaluateParams
from repoloom.recipe.results import EVALUATION, TRAINING, Evaluated, Trained
from repoloom.report import TrainingRecord, TrainingStep
from repoloom.store import Store, open_store
from repoloom.store.folders import download, sha256, upload
from repoloom.training.checkpoint import Checkpoints
from repoloom.training.config import TrainParams
from repoloom.training.data import PackedDataset
from repoloom.training.export import export
from repoloom.training.loop import StepReport, run_identity, train
from repoloom.training.model import Llama
from repoloom.training.parallel import ParallelPlan
from repoloom.training.progress_file import ProgressFile, peak_flops

MODEL, TRAIN = "model", "train"
_STEPS = "steps.jsonl"
_WEIGHTS = "model.safetensors"

R = TypeVar("R", bound=Record)


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
        """From the datasets of a run, by step. Raises InputError naming the step whose work is missing."""
        for step in ("split.heldout", "tokenize.vocabulary", "tokenize", "pack"):
            if step not in datasets:
                raise InputError(f"there is no dataset of the step {step!r}; run the recipe up to `--until pack` first")
        rows = datasets["tokenize.vocabulary"].reader("tokenizer").table().to_pylist()
        if not rows:
            raise InputError(
                "the step 'tokenize.vocabulary' made no tokenizer, its task is quarantined; "
                "`repoloom retry` and running again tries it anew"
            )
        order = fim.Order(str(datasets["tokenize"].manifest.params["fim_order"]))
        return cls(datasets["pack"], rows[0]["json"], rows[0]["vocab_size"], datasets["split.heldout"], order)

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


@dataclass(frozen=True)
class Stopped:
    """Where a training stands that was asked to stop: its checkpoint goes on from there."""

    step: int
    steps: int
    checkpoint: str  # its address


def train_model(
    params: TrainParams,
    corpus: Corpus,
    out: str,
    plan: ParallelPlan,
    begin: Callable[[float], None],
    report: Callable[[StepReport], None],
) -> Trained | Stopped:
    """Trains, or goes on training, and exports to OUT/model. Stopped where it was asked to, before the end.

    `begin` is told the unigram baseline before the first step. Of several ranks the main one alone writes.
    """
    store = open_store(out)
    identity = run_identity(params, corpus.vocabulary, corpus.packed.digest)
    trained = plan.share(_trained_before(store, identity) if plan.is_main else None)
    if trained:
        return trained
    data = corpus.training_data()
    baseline = unigram_entropy(data, corpus.vocabulary)
    begin(baseline)
    log = _StepLog(store, identity)
    checkpoints = Checkpoints(store, _training_folder(identity), params.keep)
    steps = params.total_steps(len(data))
    architecture = params.architecture(corpus.vocabulary)
    told = ProgressFile(store, steps, params.sequence_length, _peak(plan))

    def note(step: StepReport) -> None:
        log.add(step)
        told.step(step)
        report(step)

    with told if plan.is_main else nullcontext():
        outcome = train(
            params,
            data,
            data_digest=corpus.packed.digest,
            vocabulary=corpus.vocabulary,
            checkpoints=checkpoints,
            plan=plan,
            report=note,
            saving=log.write,
        )
        if not outcome.finished:
            told.stopped()
            return Stopped(outcome.progress.step, steps, checkpoints.address(outcome.progress.step))
        if plan.is_main:
            model = Llama.of(architecture, outcome.weights)
            trained = _export(model, params, corpus, store, identity, baseline, log.read())
        trained = plan.share(trained)
        assert trained is not None
        return trained


def _trained_before(store: Store, identity: str) -> Trained | None:
    """What the same training came to, if its model is still there."""
    trained = _stored(store, TRAINING, Trained)
    whole = trained and trained.identity == identity and sha256(store, f"{MODEL}/{_WEIGHTS}") == trained.weights
    return trained if whole else None


def _peak(plan: ParallelPlan) -> float | None:
    """Operations a second of the GPUs of all ranks; None where that is not known."""
    peak = peak_flops(torch.cuda.get_device_name(plan.device)) if plan.device.type == "cuda" else None
    return peak and peak * plan.ranks


def _export(
    model: Llama,
    params: TrainParams,
    corpus: Corpus,
    store: Store,
    identity: str,
    baseline: float,
    steps: list[TrainingStep],
) -> Trained:
    """Puts the model and its record."""
    store.delete(TRAINING)  # first, so that it never stands beside a model that it does not describe
    with scratch_errors(), tempfile.TemporaryDirectory(prefix="repoloom-model-") as scratch:
        export(model, corpus.tokenizer, Path(scratch, MODEL), fim_order=corpus.fim_order)
        digests = upload(Path(scratch, MODEL), store, MODEL)
    last = steps[-max(1, len(steps) // 20) :]
    trained = Trained(
        identity=identity,
        packed=corpus.packed.digest,
        weights=digests[_WEIGHTS],
        parameters=model.architecture.parameters,
        unigram_loss=baseline,
        final_loss=sum(step.loss for step in last) / len(last),
        steps=len(steps),
        seconds=round(sum(params.batch_size * params.sequence_length / step.tokens_per_second for step in steps), 3),
    )
    stores.write(store, TRAINING, trained.model_dump_json(indent=1).encode())
    return trained


def export_checkpoint(params: TrainParams, corpus: Corpus, out: str, to: Path, dtype: torch.dtype) -> int:
    """Exports a run's newest checkpoint, finished or not; returns its step. Raises InputError where there is none."""
    identity = run_identity(params, corpus.vocabulary, corpus.packed.digest)
    progress, state = Checkpoints(open_store(out), _training_folder(identity), params.keep).restore(identity)
    if state is None:
        raise InputError(f"{out} has no checkpoint of this recipe; `repoloom train` makes one")
    model = Llama.of(params.architecture(corpus.vocabulary), state.weights)
    export(model, corpus.tokenizer, to, dtype, corpus.fim_order)
    return progress.step


def trained_at(out: str, corpus: Corpus) -> Trained:
    """What was trained on a corpus. Raises InputError where nothing was."""
    trained = _stored(open_store(out), TRAINING, Trained)
    if trained is None or trained.packed != corpus.packed.digest:
        raise InputError(f"{out} holds no model that was trained on these tokens; `repoloom train` makes one")
    return trained


def evaluate_model(
    params: EvaluateParams, trained: Trained, seed: int, corpus: Corpus, out: str, watch: Watch = lambda _: None
) -> Evaluation:
    """Measures OUT/model and its untrained twin on held-out repositories. Raises CorruptDataError, InputError."""
    store = open_store(out)
    inputs: list[JsonValue] = [params.model_dump(mode="json"), seed, trained.weights, corpus.heldout.digest]
    identity = "sha256:" + hashlib.sha256(canonical_json(inputs)).hexdigest()
    evaluated = _stored(store, EVALUATION, Evaluated)
    if evaluated and evaluated.identity == identity:
        return evaluated.evaluation
    with scratch_errors(), tempfile.TemporaryDirectory(prefix="repoloom-model-") as scratch:
        if download(store, MODEL, Path(scratch)).get(_WEIGHTS) != trained.weights:
            raise CorruptDataError(f"{store.uri}/{MODEL} is not the model that {TRAINING} is of; train again")
        completer = Completer.load(Path(scratch))
    files = corpus.held_out_files(params.max_bytes, params.seed)
    holes = draw_holes(files, params.holes, params.seed)
    evaluation = compare(completer, untrained(completer, seed), files, holes, watch)
    evaluated = Evaluated(
        identity=identity, weights=trained.weights, heldout=corpus.heldout.digest, evaluation=evaluation
    )
    stores.write(store, EVALUATION, evaluated.model_dump_json(indent=1).encode())
    return evaluated.evaluation


def results_at(out: str, datasets: Iterable[Dataset]) -> tuple[TrainingRecord | None, Evaluation | None]:
    """The finished training of these datasets, step by step, and its evaluation; None for what there is not."""
    store = open_store(out)
    digests = {dataset.digest for dataset in datasets}
    trained = _stored(store, TRAINING, Trained)
    if trained is None or trained.packed not in digests:
        return None, None
    record = TrainingRecord(
        parameters=trained.parameters,
        unigram_loss=trained.unigram_loss,
        steps=tuple(_StepLog(store, trained.identity).read()),
        seconds=trained.seconds,
    )
    evaluated = _stored(store, EVALUATION, Evaluated)
    if evaluated is None or evaluated.weights != trained.weights or evaluated.heldout not in digests:
        return record, None
    return record, evaluated.evaluation


def _stored(store: Store, key: str, record: type[R]) -> R | None:
    """A record of what was made; None where there is none, or one of another form, which is made anew."""
    try:
        return record.model_validate_json(store.read(key))
    except (FileNotFoundError, ValidationError):
        return None


def _training_folder(identity: str) -> str:
    return f"{TRAIN}/{identity.removeprefix('sha256:')[:16]}"


class _StepLog:
    """The steps of a run as JSON lines, written with each checkpoint; a resumed run does those after its own anew."""

    def __init__(self, store: Store, identity: str) -> None:
        self._store = store
        self._key = f"{_training_folder(identity)}/{_STEPS}"
        self._steps: list[TrainingStep] = []

    def add(self, report: StepReport) -> None:
        if not self._steps:
            self._steps = [step for step in self.read() if step.step < report.step]
        self._steps.append(TrainingStep(**{name: getattr(report, name) for name in TrainingStep.model_fields}))

    def write(self) -> None:
        """Raises StoreError."""
        stores.write(self._store, self._key, "".join(step.model_dump_json() + "\n" for step in self._steps).encode())

    def read(self) -> list[TrainingStep]:
        """Those that were written."""
        try:
            content = self._store.read(self._key)
        except FileNotFoundError:
            return []
        return [TrainingStep.model_validate_json(line) for line in content.splitlines()]
