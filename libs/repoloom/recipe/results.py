"""What a training and an evaluation leave beside the model: small records, read where there is no torch, too."""

import hashlib
from enum import StrEnum

from pydantic import JsonValue

from repoloom.corpus.manifest import Record, canonical_json
from repoloom.evaluation.result import Evaluation
from repoloom.recipe.model import EvaluateParams

TRAINING, EVALUATION = "training.json", "evaluation.json"
MODEL, MODELS = "model", "models"
"""The folder of the model that was trained last, and that of the folders of models which are kept, named by weights."""


class StageName(StrEnum):
    """The stages of a training, in the order they run (arXiv 2401.14196 section 3)."""

    PRETRAIN = "pretrain"
    EXTEND = "extend"
    INSTRUCT = "instruct"


class Conversations(Record):
    """What became of the conversations that the recipe's files hold: `read` is the sum of the other three."""

    read: int
    contaminated: int  # share words with a benchmark
    too_long: int  # have more tokens than a sequence
    kept: int


class TrainedStage(Record):
    """What a stage ended with, kept beside the model that it made where another stage followed."""

    stage: StageName
    identity: str  # of parameters, data and the weights it began with
    data: str  # digest of what it read
    conversations: Conversations | None = None  # of instruction tuning
    weights: str  # SHA-256 of its exported model.safetensors
    unigram_loss: float  # nats a token that the tokens' frequencies alone reach on the same data
    final_loss: float  # mean over the last twentieth of the steps
    steps: int
    tokens: int  # read, padding included
    seconds: float  # summed over the steps


class Trained(Record):
    """What a training ended with, kept beside the model as training.json; what is of one stage is of the last."""

    identity: str  # of parameters and data
    packed: str  # digest of the packed corpus
    weights: str  # SHA-256 of the exported model.safetensors
    parameters: int
    unigram_loss: float
    final_loss: float
    steps: int
    seconds: float
    stages: tuple[TrainedStage, ...] = ()
    kept: str = ""  # where a copy of the model lies that no later training overwrites; empty: nowhere


class Evaluated(Record):
    """An evaluation and what it was made from, kept as evaluation.json."""

    identity: str  # see `evaluation_identity`
    weights: str  # SHA-256 of what was measured
    heldout: str  # digest of the dataset it was measured on
    evaluation: Evaluation


def evaluation_identity(params: EvaluateParams, seed: int, weights: str, heldout: str) -> str:
    """`sha256:` and the SHA-256 of all that an evaluation follows from; `seed` is that of the untrained twin."""
    inputs: list[JsonValue] = [params.model_dump(mode="json"), seed, weights, heldout]
    return "sha256:" + hashlib.sha256(canonical_json(inputs)).hexdigest()
