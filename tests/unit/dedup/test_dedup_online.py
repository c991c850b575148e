"""The chain of steps in memory, which answers a call, against the engine's, which makes datasets."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from dedup.synthetic import signatures

from repoloom.corpus.dataset import Dataset
from repoloom.stages import dedup
from repoloom.stages.dedup.params import DedupParams
from repoloom_services import chain
from repoloom_services.chain import Chain, Content

Resolve = Callable[..., dict[str, Dataset]]

SKETCH = 64
TASK_BYTES = 20_000


def copies(count: int) -> list[pa.Table]:
    """Signatures in parts of 100: each repository is like one of 40 originals, more or less."""
    draw = np.random.default_rng(0)
    originals = np.sort(draw.integers(0, 1 << 63, (40, SKETCH), np.uint64), axis=1)
    of = draw.integers(0, 40, count)
    sketches = originals[of]
    changed = draw.random((count, SKETCH)) < draw.choice([0, 0.02, 0.1], (count, 1))
    sketches = np.sort(np.where(changed, draw.integers(0, 1 << 63, (count, SKETCH), np.uint64), sketches), axis=1)
    buckets = np.stack([of * np.uint64(1 << 57), sketches[:, 0]], axis=1).astype(np.uint64)
    names = [f"{('git', 'pypi', 'npm')[one % 3]}/{number:05}" for number, one in enumerate(of.tolist())]
    words = draw.integers(40, 60, count).tolist()
    parts = (slice(at, at + 100) for at in range(0, count, 100))
    return [signatures(names[part], words[part], list(sketches[part]), list(buckets[part])) for part in parts]


def resolved(parts: Iterable[pa.Table], go_on: Callable[[], None], hold: Callable[[Content], None]) -> Chain:
    """The chain from the signatures on."""
    made = Chain(go_on, hold)
    for step in dedup.STEPS:
        if step is dedup.Signatures:
            for part in parts:
                made.write("signatures", part)
        elif step is not dedup.Survivors:
            made.run(step(DedupParams(sketch=SKETCH)))
    return made


def rows(batches: Iterable[pa.RecordBatch]) -> list[dict[str, Any]]:
    return [row for batch in batches for row in batch.to_pylist()]


def test_the_chain_in_memory_finds_what_the_engine_finds(
    resolve_signatures: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "TASK_BYTES", TASK_BYTES)
    parts = copies(600)
    made = resolved(parts, lambda: None, lambda _: None)
    expected = resolve_signatures(*parts, task_bytes=1 << 30, sketch=SKETCH)

    clusters = rows(made.reader("clusters").batches())
    assert len(clusters) > 300
    for table in ("clusters", "alarms"):
        found = sorted(map(repr, rows(made.reader(table).batches())))
        assert found == sorted(map(repr, rows(expected[f"dedup.{table}"].batches(table))))


def test_a_chain_ends_at_the_next_part_once_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "TASK_BYTES", TASK_BYTES)
    parts = copies(300)
    asked = 0

    def gone_after(most: float) -> Callable[[], None]:
        nonlocal asked
        asked = 0

        def go_on() -> None:
            nonlocal asked
            asked += 1
            if asked > most:
                raise InterruptedError

        return go_on

    resolved(parts, gone_after(float("inf")), lambda _: None)
    total = asked
    assert total > 60  # parts
    for most in range(total):
        with pytest.raises(InterruptedError):
            resolved(parts, gone_after(most), lambda _: None)
        assert asked == most + 1


def test_a_chain_holds_nothing_that_is_refused() -> None:
    held = 0

    def hold(content: Content) -> None:
        nonlocal held
        held += len(content) if isinstance(content, bytes) else content.nbytes
        if held > 200_000:
            raise MemoryError

    with pytest.raises(MemoryError):
        resolved(copies(600), lambda: None, hold)
    assert held < 300_000
