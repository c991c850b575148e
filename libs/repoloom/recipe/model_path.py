"""From packed tokens to a measured model: train, export, evaluate; nothing is made twice from the same inputs.

A training has stages, each of which goes on from the model of the one before.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file
from torch import Tensor

from repoloom import store as stores
from repoloom.corpus.dataset import Dataset
from repoloom.corpus.stored import stored
from repoloom.engine.reconcile import Fence
from repoloom.errors import InputError
from repoloom.evaluation.compare import Watch, compare, untrained
from repoloom.evaluation.held_out import draw_holes
from repoloom.evaluation.result import Evaluation
from repoloom.evaluation.unigram import unigram_entropy
from repoloom.heartbeat import Heartbeat
from repoloom.inference.complete import Completer
from repoloom.recipe.conversations import write_dropped
from repoloom.recipe.corpus import Corpus
from repoloom.recipe.model import EvaluateParams
from repoloom.recipe.models import LAST, WEIGHTS, Models, aside
from repoloom.recipe.results import (
    EVALUATION,
    MODEL,
    TRAINING,
    Evaluated,
    StageName,
    Trained,
    TrainedStage,
    evaluation_identity,
)
from repoloom.recipe.training_stages import Base, Begun, Reading, Stage
from repoloom.report import TrainingRecord, TrainingStage, TrainingStep
from repoloom.scratch import scratch_folder
from repoloom.store import Store, open_store
from repoloom.training.checkpoint import Checkpoints
from repoloom.training.export import export
from repoloom.training.forms import check_batches
from repoloom.training.loop import StepReport, run_identity, train
from repoloom.training.model import Llama
from repoloom.training.parallel import ParallelPlan, SingleProcess
from repoloom.training.progress_file import ProgressFile, peak_flops
from repoloom.training.sizes import Architecture

TRAIN = "train"
_STEPS = "steps.jsonl"
_DROPPED = "dropped.jsonl"


@dataclass(frozen=True)
class Stopped:
    """Where a training stands that was asked to stop: its checkpoint goes on from there."""

    stage: StageName
    step: int
    steps: int
    checkpoint: str  # its address


class View(Protocol):
    """Who watches a training."""

    def begin(self, stage: StageName, baseline: float) -> None:
        """Is told of a stage before its first step, with the loss that frequencies alone reach."""
        ...

    def step(self, report: StepReport) -> None: ...


def train_stages(
    stages: Sequence[Stage],
    corpus: Corpus,
    out: str,
    plan: ParallelPlan,
    view: View,
    *,
    keep: bool = False,
    work: str = "",
    fence: Fence = lambda: None,
) -> Trained | Stopped:
    """Trains, or goes on training, stage after stage, and exports. Stopped where it was asked to, before the end.

    `keep`: also to an address that no later training writes to. `work`: what the record of its progress calls it.
    `fence` is asked before each checkpoint, model and record, which would take the place of somebody else's.
    Of several ranks the main one alone writes. Raises InputError, CorruptDataError, StoreError, what `fence` raises.
    """
    models = Models(open_store(out), fence)
    for stage in stages:
        check_batches(stage.params.batch_size, stage.params.micro_batch_size, plan.ranks)
    trained: Trained | None = None
    base: Base | None = None
    for stage in stages:
        place = LAST if stage is stages[-1] else aside(stage.name)
        with ProgressFile(models.store, plan, stage.name, work=work, is_last=stage is stages[-1]) as told:
            begun = stage.begin(base, told)
            identity = run_identity(begun.params, corpus.vocabulary, begun.data_digest)
            told.identify(identity)
            ended: Trained | Stopped | None = told.on_main(partial(models.bring, stage.name, place, identity))
            if ended:
                told.restore()
            else:
                before = trained.stages if trained else ()
                run = _StageRun(stage, begun, base, before, place, identity, corpus, models, plan, told, view)
                ended = run.run()
            if keep and stage is stages[-1] and isinstance(ended, Trained):
                ended = told.on_main(partial(models.keep, ended))
        if isinstance(ended, Stopped):
            return ended
        trained = ended
        base = Base(trained.weights, begun.params.architecture(corpus.vocabulary), f"{place}{MODEL}")
    assert trained
    return trained


@dataclass(frozen=True)
class _StageRun:
    """One stage that is to be trained."""

    stage: Stage
    begun: Begun
    base: Base | None
    before: tuple[TrainedStage, ...]
    place: str
    identity: str
    corpus: Corpus
    models: Models
    plan: ParallelPlan
    told: ProgressFile
    view: View

    def run(self) -> Trained | Stopped:
        """Trains from the newest checkpoint on, and exports."""
        params, store, plan, told = self.begun.params, self.models.store, self.plan, self.told
        reading = self.begun.load(told.heartbeat)
        baseline = told.on_main(partial(unigram_entropy, reading.data, self.corpus.vocabulary))
        self.view.begin(self.stage.name, baseline)
        log = _StepLog(store, self.identity)
        checkpoints = Checkpoints(store, _training_folder(self.identity), params.keep)
        steps = params.total_steps(len(reading.data))
        told.begin(steps, params.sequence_length, _peak(plan))

        def note(step: StepReport) -> None:
            log.add(step)
            told.step(step)
            self.view.step(step)

        def saving() -> None:
            self.models.fence()
            log.write()

        outcome = train(
            params,
            reading.data,
            data_digest=self.begun.data_digest,
            vocabulary=self.corpus.vocabulary,
            checkpoints=checkpoints,
            plan=plan,
            report=note,
            saving=saving,
            begin=self._base_model if self.base else None,
            ranks=told,
        )
        trained = None
        if outcome.finished:
            trained = told.on_main(partial(self._export, reading, outcome.weights, baseline, log))
        if trained is None or (outcome.asked_to_stop and not self.is_last):
            told.stopped()
            at = outcome.progress.step
            return Stopped(self.stage.name, at, steps, checkpoints.address(at))
        plan.release()
        return trained

    @property
    def is_last(self) -> bool:
        return self.place == LAST

    @property
    def architecture(self) -> Architecture:
        return self.begun.params.architecture(self.corpus.vocabulary)

    def _base_model(self, heartbeat: Heartbeat) -> Llama:
        """The model of the stage before, with this one's positions. Raises CorruptDataError."""
        assert self.base
        with self.models.fetched(self.base.key, self.base.weights, heartbeat) as folder:
            return Llama.of(self.architecture, load_file(folder / WEIGHTS))

    def _export(
        self, reading: Reading, weights: dict[str, Tensor], baseline: float, log: "_StepLog", heartbeat: Heartbeat
    ) -> Trained:
        """Puts what was not trained on, the model and its record."""
        self.models.fence()
        if reading.conversations:
            write_dropped(reading.dropped, self.models.store, f"{self.stage.name}/{_DROPPED}")
        params, steps = self.begun.params, log.read()
        last = steps[-max(1, len(steps) // 20) :]
        read = params.batch_size * params.sequence_length
        template = self.stage.chat_template
        model = Llama.of(self.architecture, weights)
        with scratch_folder("repoloom-model-") as scratch:
            folder = scratch / MODEL
            export(model, self.corpus.tokenizer, folder, fim_order=self.corpus.fim_order, chat_template=template)
            digest = self.models.put(self.place, folder, heartbeat)
        stage = TrainedStage(
            stage=self.stage.name,
            identity=self.identity,
            data=self.begun.data_digest,
            conversations=reading.conversations,
            weights=digest,
            unigram_loss=baseline,
            final_loss=sum(step.loss for step in last) / len(last),
            steps=len(steps),
            tokens=len(steps) * read,
            seconds=round(sum(read / step.tokens_per_second for step in steps), 3),
        )
        trained = Trained(
            packed=self.corpus.packed.digest,
            parameters=model.architecture.parameters,
            stages=(*self.before, stage),
            **{name: getattr(stage, name) for name in Trained.model_fields if name in TrainedStage.model_fields},
        )
        self.models.record(self.place, trained)
        return trained


def _peak(plan: ParallelPlan) -> float | None:
    """Operations a second of the GPUs of all ranks; None where that is not known."""
    peak = peak_flops(torch.cuda.get_device_name(plan.device)) if plan.device.type == "cuda" else None
    return peak and peak * plan.ranks


def export_checkpoint(
    stages: Sequence[Stage], corpus: Corpus, out: str, to: Path, dtype: torch.dtype
) -> tuple[StageName, int]:
    """Exports the newest checkpoint of the last stage that has one, finished or not; returns the stage and the step.

    Raises InputError where there is none, CorruptDataError where none is whole.
    """
    for stage, begun, identity, _ in reversed(list(_begun_stages(stages, corpus, out))):
        checkpoints = Checkpoints(open_store(out), _training_folder(identity), begun.params.keep)
        if newest := checkpoints.newest_weights(identity):
            step, weights = newest
            model = Llama.of(begun.params.architecture(corpus.vocabulary), weights)
            export(model, corpus.tokenizer, to, dtype, corpus.fim_order, stage.chat_template)
            return stage.name, step
    raise InputError(f"{out} has no checkpoint of this recipe; `repoloom train` makes one")


def kept_stages(stages: Sequence[Stage], corpus: Corpus, out: str) -> list[Trained]:
    """What the stages came to that are done, up to the first that is not."""
    return [trained for *_, trained in _begun_stages(stages, corpus, out) if trained]


def _begun_stages(
    stages: Sequence[Stage], corpus: Corpus, out: str
) -> Iterator[tuple[Stage, Begun, str, Trained | None]]:
    """The stages that are done and the first that is not, each with its identity and what it came to."""
    models = Models(open_store(out))
    base: Base | None = None
    for stage in stages:
        begun = stage.begin(base, SingleProcess())
        identity = run_identity(begun.params, corpus.vocabulary, begun.data_digest)
        found = models.find(stage.name, identity)
        yield stage, begun, identity, found[1] if found else None
        if found is None:
            return
        place, trained = found
        base = Base(trained.weights, begun.params.architecture(corpus.vocabulary), f"{place}{MODEL}")


def trained_at(out: str, corpus: Corpus) -> Trained:
    """What was trained on a corpus. Raises InputError where nothing was."""
    trained = stored(open_store(out), TRAINING, Trained)
    if trained is None or trained.packed != corpus.packed.digest:
        raise InputError(f"{out} holds no model that was trained on these tokens; `repoloom train` makes one")
    return trained


def evaluate_model(
    params: EvaluateParams,
    trained: Trained,
    seed: int,
    corpus: Corpus,
    out: str,
    watch: Watch = lambda _: None,
    fence: Fence = lambda: None,
) -> Evaluation:
    """Measures OUT/model and its untrained twin on held-out repositories; `fence` is asked before what it writes.

    Raises CorruptDataError, InputError.
    """
    store = open_store(out)
    identity = evaluation_identity(params, seed, trained.weights, corpus.heldout.digest)
    evaluated = stored(store, EVALUATION, Evaluated)
    if evaluated and evaluated.identity == identity:
        return evaluated.evaluation
    with Models(store).fetched(MODEL, trained.weights) as folder:
        completer = Completer.load(folder)
    files = corpus.held_out_files(params.max_bytes, params.seed)
    holes = draw_holes(files, params.holes, params.seed)
    evaluation = compare(completer, untrained(completer, seed), files, holes, watch)
    evaluated = Evaluated(
        identity=identity, weights=trained.weights, heldout=corpus.heldout.digest, evaluation=evaluation
    )
    fence()
    stores.write(store, EVALUATION, evaluated.model_dump_json(indent=1).encode())
    return evaluated.evaluation


def results_at(out: str, datasets: Iterable[Dataset]) -> tuple[TrainingRecord | None, Evaluation | None]:
    """The finished training of these datasets, step by step, and its evaluation; None for what there is not."""
    store = open_store(out)
    digests = {dataset.digest for dataset in datasets}
    trained = stored(store, TRAINING, Trained)
    if trained is None or trained.packed not in digests:
        return None, None
    first = trained.stages[0] if trained.stages else trained
    record = TrainingRecord(
        parameters=trained.parameters,
        unigram_loss=first.unigram_loss,
        steps=tuple(_StepLog(store, first.identity).read()),
        seconds=first.seconds,
        stages=tuple(map(_told, trained.stages)),
    )
    evaluated = stored(store, EVALUATION, Evaluated)
    if evaluated is None or evaluated.weights != trained.weights or evaluated.heldout not in digests:
        return record, None
    return record, evaluated.evaluation


def _told(stage: TrainedStage) -> TrainingStage:
    counts = stage.conversations
    return TrainingStage(
        conversations=counts.kept if counts else None,
        left_out=counts.read - counts.kept if counts else None,
        **stage.model_dump(include=set(TrainingStage.model_fields) - {"conversations"}),
    )


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
