"""Packed shards are read as they were written, and targets and positions respect document boundaries."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from repoloom.errors import CorruptDataError, InputError
from repoloom.training.data import PackedDataset, collate
from repoloom.training.loss import IGNORE


def write(folder: Path, name: str, tokens: list[list[int]], segments: list[list[int]]) -> tuple[Path, Path]:
    shard, index = folder / f"{name}.bin", folder / f"{name}.idx"
    shard.write_bytes(np.array(tokens, dtype="<u2").tobytes())
    index.write_bytes(np.array(segments, dtype="<u2").tobytes())
    return shard, index


def test_samples_run_through_all_shards_in_order(tmp_path: Path) -> None:
    pairs = [
        write(tmp_path, "a", [[1, 2, 3], [4, 5, 6]], [[1, 1, 1], [1, 2, 0]]),
        write(tmp_path, "b", [], []),
        write(tmp_path, "c", [[7, 65535, 9]], [[1, 1, 2]]),
    ]
    data = PackedDataset([shard for shard, _ in pairs], [index for _, index in pairs], 3)
    assert len(data) == 3
    assert [data.sample(number)[0].tolist() for number in range(3)] == [[1, 2, 3], [4, 5, 6], [7, 65535, 9]]
    assert [data.sample(number)[1].tolist() for number in range(3)] == [[1, 1, 1], [1, 2, 0], [1, 1, 2]]


def test_a_shard_that_is_not_whole_sequences_is_refused(tmp_path: Path) -> None:
    shard, index = write(tmp_path, "a", [[1, 2, 3, 4]], [[1, 1, 1, 1]])
    with pytest.raises(CorruptDataError, match="not whole sequences"):
        PackedDataset([shard], [index], 3)


def test_a_shard_and_an_index_of_other_lengths_are_refused(tmp_path: Path) -> None:
    shard, _ = write(tmp_path, "a", [[1, 2]], [[1, 1]])
    _, index = write(tmp_path, "b", [[1, 2], [3, 4]], [[1, 1], [1, 1]])
    with pytest.raises(CorruptDataError, match="its index has 2"):
        PackedDataset([shard], [index], 2)
    with pytest.raises(InputError, match="do not pair"):
        PackedDataset([shard], [], 2)


@given(st.lists(st.lists(st.integers(0, 4), min_size=6, max_size=6), min_size=1, max_size=4), st.data())
def test_targets_and_positions_equal_those_found_token_by_token(runs: list[list[int]], data: st.DataObject) -> None:
    segments = [sorted(run, key=lambda segment: (segment == 0, segment)) for run in runs]  # padding last
    tokens = [data.draw(st.lists(st.integers(0, 65535), min_size=6, max_size=6)) for _ in runs]
    batch = collate((np.array(t, np.uint16), np.array(s, np.uint16)) for t, s in zip(tokens, segments, strict=True))
    for row, (line, segment) in enumerate(zip(tokens, segments, strict=True)):
        for place in range(6):
            goes_on = place < 5 and segment[place] == segment[place + 1] != 0
            assert batch.targets[row, place] == (line[place + 1] if goes_on else IGNORE)
            assert batch.positions[row, place] == place - segment.index(segment[place])
    assert batch.tokens.dtype == torch.int64


def test_targets_and_pairs_that_see_each_other_are_counted() -> None:
    tokens, segments = np.arange(6, dtype=np.uint16), np.array([1, 1, 1, 2, 2, 0], np.uint16)
    assert collate([(tokens, segments)]).counts().tolist() == [2 + 1, (1 + 2 + 3) + (1 + 2) + 1]
