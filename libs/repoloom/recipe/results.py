"""What a training and an evaluation leave beside the model: small records, read where there is no torch, too."""

from repoloom.corpus.manifest import Record
from repoloom.evaluation.result import Evaluation

TRAINING, EVALUATION = "training.json", "evaluation.json"


class Trained(Record):
    """What a training run ended with, kept beside the model as training.json."""

    identity: str  # of parameters and data
    packed: str  # digest of the dataset it read
    weights: str  # SHA-256 of the exported model.safetensors
    parameters: int
    unigram_loss: float  # nats a token that the tokens' frequencies alone reach on the same data
    final_loss: float  # mean over the last twentieth of the steps
    steps: int
    seconds: float  # summed over the steps


class Evaluated(Record):
    """An evaluation and what it was made from, kept as evaluation.json."""

    identity: str
    weights: str  # SHA-256 of what was measured
    heldout: str  # digest of the dataset it was measured on
    evaluation: Evaluation
