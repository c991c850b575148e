"""The stages of a training as a recipe has them: what each reads, and how it goes on from the one before."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import pyarrow as pa

from repoloom.engine.reconcile import Fence
from repoloom.errors import InputError
from repoloom.heartbeat import Heartbeat
from repoloom.prompts import chat
from repoloom.recipe.conversations import Dropped, digest_of, prepare
from repoloom.recipe.corpus import Corpus, sequences_of
from repoloom.recipe.longer import pack_longer
from repoloom.recipe.model import Recipe
from repoloom.recipe.paths import pin_conversations
from repoloom.recipe.results import Conversations, StageName
from repoloom.stages.decontaminate.tables import BENCHMARKS
from repoloom.training.config import (
    ExtendParams,
    GoesOnParams,
    InstructParams,
    InstructSource,
    StageParams,
    TrainParams,
    check_warmup,
)
from repoloom.training.data import Sequences
from repoloom.training.parallel import Ranks
from repoloom.training.sizes import Architecture

_BENCHMARKS = "decontaminate.benchmarks"


class Base(NamedTuple):
    """The model that a stage goes on from."""

    weights: str  # SHA-256 of its model.safetensors
    architecture: Architecture
    key: str  # where it lies, below the training's output


class Reading(NamedTuple):
    """What a stage reads."""

    data: Sequences
    conversations: Conversations | None = None
    dropped: tuple[Dropped, ...] = ()  # of the conversations


@dataclass(frozen=True)
class Begun:
    """A stage of which all is known that its weights hang on."""

    params: TrainParams
    data_digest: str
    load: Callable[[Heartbeat], Reading]  # is asked only where there is something to train


class Stage(Protocol):
    """A stage of a training."""

    @property
    def name(self) -> StageName: ...

    @property
    def params(self) -> StageParams:
        """Its section of the recipe."""
        ...

    @property
    def chat_template(self) -> str | None:
        """Of the model that it makes, where that is one that answers."""
        ...

    def begin(self, base: Base | None, ranks: Ranks) -> Begun:
        """Makes what it reads known, on every rank. `base` is the model of the stage before."""
        ...


def stages_of(recipe: Recipe, corpus: Corpus, out: str, fence: Fence = lambda: None) -> list[Stage]:
    """The stages of a recipe, in the order they run; what they read of this machine has been looked at.

    `fence` is asked before a corpus of longer sequences takes the place of another. Raises InputError.
    """
    if recipe.train is None:
        raise InputError("the recipe has no `train` section")
    stages: list[Stage] = [Pretrain(recipe.train, corpus)]
    if recipe.extend:
        stages.append(Extend(recipe.extend, recipe.train, recipe, corpus, out, fence))
    if recipe.instruct:
        stages.append(Instruct(recipe.instruct, pin_conversations(recipe.instruct, recipe.where), corpus))
    return stages


@dataclass(frozen=True)
class Pretrain:
    """Learns from the packed corpus, from nothing."""

    params: TrainParams
    corpus: Corpus
    name = StageName.PRETRAIN
    chat_template = None

    def begin(self, base: Base | None, ranks: Ranks) -> Begun:  # noqa: ARG002 - there is none before it
        corpus = self.corpus
        return Begun(self.params, corpus.packed.digest, lambda heartbeat: Reading(corpus.training_data(heartbeat)))


@dataclass(frozen=True)
class Extend:
    """Goes on with longer sequences of the same corpus, and positions that reach as far."""

    params: ExtendParams
    train: TrainParams
    recipe: Recipe
    corpus: Corpus
    out: str
    fence: Fence
    name = StageName.EXTEND
    chat_template = None

    def begin(self, base: Base | None, ranks: Ranks) -> Begun:
        assert base
        length = self.params.sequence_length
        packed = ranks.on_main(partial(pack_longer, self.recipe, self.corpus.made, length, self.out, self.fence))
        params = self.params.goes_on(self.train, base.weights, base.architecture)
        return Begun(params, packed.digest, lambda heartbeat: Reading(sequences_of(packed, heartbeat)))


@dataclass(frozen=True)
class Instruct:
    """Learns to answer, from conversations."""

    params: InstructParams
    sources: tuple[InstructSource, ...]  # pinned
    corpus: Corpus
    name = StageName.INSTRUCT

    @property
    def chat_template(self) -> str:
        return chat.template(self.params.system)

    def begin(self, base: Base | None, ranks: Ranks) -> Begun:  # noqa: ARG002 - every rank reads for itself
        assert base
        params = self.params.goes_on(base.weights, base.architecture)
        benchmarks = self.corpus.made.get(_BENCHMARKS)
        looked_for = benchmarks.digest if benchmarks else ""
        digest = digest_of(self.params, self.sources, params.sequence_length, self.corpus.tokenizer, looked_for)
        return Begun(params, digest, partial(self._read, params))

    def _read(self, params: GoesOnParams, heartbeat: Heartbeat) -> Reading:
        """Raises InputError."""
        benchmarks = self.corpus.made.get(_BENCHMARKS)
        texts = benchmarks.reader("benchmarks").table() if benchmarks else pa.table([], BENCHMARKS)
        prepared = prepare(
            self.sources, self.params.system, params.sequence_length, self.corpus.tokenizer, texts, heartbeat
        )
        try:
            check_warmup(params.warmup_steps, params.total_steps(len(prepared.data)))
        except ValueError as error:
            raise InputError(f"instruct: {error}") from None
        return Reading(prepared.data, prepared.counts, prepared.dropped)
