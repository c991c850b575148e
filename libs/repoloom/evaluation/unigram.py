"""The unigram baseline: what predicting every token by its frequency alone would cost. A model must do better."""

from collections.abc import Iterator
from math import log

import numpy as np
from numpy.typing import NDArray

from repoloom.training.data import PackedDataset, collate
from repoloom.training.loss import IGNORE

_SEQUENCES = 256  # at a time


def unigram_nats(training: PackedDataset, validation: PackedDataset, vocabulary: int) -> float:
    """Nats a target token of `validation` under the add-one smoothed frequencies of `training`'s target tokens."""
    counts = sum(_counts(training, vocabulary), np.zeros(vocabulary, np.int64))
    held_out = sum(_counts(validation, vocabulary), np.zeros(vocabulary, np.int64))
    if not held_out.sum():
        return log(vocabulary)
    nats = -np.log((counts + 1) / (counts.sum() + vocabulary))
    return float(held_out @ nats / held_out.sum())


def _counts(data: PackedDataset, vocabulary: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(data), _SEQUENCES):
        numbers = range(start, min(start + _SEQUENCES, len(data)))
        targets = collate(data.sample(number) for number in numbers).targets.numpy()
        yield np.bincount(targets[targets != IGNORE], minlength=vocabulary)
