"""The unigram baseline: what predicting every token by its frequency alone would cost. A model must do better."""

import numpy as np

from repoloom.heartbeat import Heartbeat, unheard
from repoloom.training.data import Sequences
from repoloom.training.loss import IGNORE

_SEQUENCES = 64  # at a time: tens of MiB where a sequence has 16,384 tokens


def unigram_entropy(data: Sequences, vocabulary: int, heartbeat: Heartbeat = unheard) -> float:
    """The entropy of the target tokens' own frequencies, in nats a token: what no unigram model of them goes below.

    `heartbeat` beats now and then.
    """
    counts = np.zeros(vocabulary, np.int64)
    for start in range(0, len(data), _SEQUENCES):
        numbers = range(start, min(start + _SEQUENCES, len(data)))
        targets = data.batch(numbers).targets.numpy()
        counts += np.bincount(targets[targets != IGNORE], minlength=vocabulary)
        heartbeat()
    shares = counts[counts > 0] / max(1, counts.sum())
    return float(-(shares * np.log(shares)).sum())
