from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoloom.corpus.dataset import Dataset
from repoloom.corpus.ledger import Ledger
from repoloom.corpus.manifest import Cut, Manifest, Part
from repoloom.corpus.parts import columns_of, write_listing
from repoloom.corpus.tables import FILES
from repoloom.engine.execute import load_step, params_model
from repoloom.engine.plan import Table
from repoloom.engine.step import Params, Reader, Sink, Step, share_out
from repoloom.engine.task import Lines, Share, Task
from repoloom.errors import CorruptDataError, InputError
from repoloom.store import open_store

TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(TEXT, values, max_size=3),
    max_leaves=5,
)
PARTS = st.lists(st.integers(0, 100), max_size=20).map(
    lambda sizes: [Part(key=f"{n}", sha256=f"{n}", bytes=size, rows=1) for n, size in enumerate(sizes)]
)


def _part(digest: str, key: str = "tasks/x/files-000.parquet") -> Part:
    return Part(key=key, sha256=digest, bytes=1, rows=1)


INPUTS = {"files": Share(root="/here", parts=(_part("1"), _part("2"))), "side": Share(root="/here", parts=())}


def _task(**change: Any) -> Task:
    return Task(**{"step": "filter", "version": 1, "params": {"a": 1}, "inputs": INPUTS, "root": "/out", **change})


@pytest.mark.parametrize(
    "change",
    [
        {"root": "/elsewhere"},
        {"inputs": {name: share.model_copy(update={"root": "s3://x"}) for name, share in INPUTS.items()}},
        {"inputs": dict(reversed(INPUTS.items()))},
        {"inputs": {**INPUTS, "files": Share(root="/here", parts=(_part("1", "a"), _part("2", "b")))}},
    ],
    ids=["where it writes", "where it reads", "order of the tables", "names of the parts"],
)
def test_where_things_lie_is_no_part_of_a_tasks_key(change: Mapping[str, Any]) -> None:
    assert _task(**change).key == _task().key


@pytest.mark.parametrize(
    "change",
    [
        {"step": "filter2"},
        {"version": 2},
        {"params": {"a": 2}},
        {"params": {"a": 1, "b": None}},
        {"inputs": {**INPUTS, "files": Share(root="/here", parts=(_part("1"), _part("3")))}},
        {"inputs": {**INPUTS, "files": Share(root="/here", parts=(_part("2"), _part("1")))}},
        {"inputs": {**INPUTS, "side": Share(root="/here", parts=(_part("3"),))}},
        {"inputs": {"files": INPUTS["files"]}},
    ],
)
def test_what_is_done_and_what_it_is_done_to_is_a_tasks_key(change: Mapping[str, Any]) -> None:
    assert _task(**change).key != _task().key


@given(st.dictionaries(TEXT, JSON, max_size=3))
def test_a_task_sent_as_json_keeps_its_key(params: dict[str, Any]) -> None:
    task = _task(params=params)
    assert Task.model_validate_json(task.model_dump_json()).key == task.key


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """A table of a hundred parts."""
    store = open_store(str(tmp_path))
    parts = [Part(key=f"tasks/{n}/files-000.parquet", sha256=f"{n:064}", bytes=n, rows=1) for n in range(100)]
    listing = write_listing(store, "files", columns_of(parts))
    cut = Cut(task_bytes=1, tasks=1)
    manifest = Manifest(
        step="made", version=1, params={}, inputs={}, tables={"files": listing}, ledger=Ledger(), cut=cut
    )
    return Table(Dataset(store.uri, manifest), "files")


@pytest.mark.parametrize("taken", [slice(None), slice(3, 99), slice(1, None, 1), slice(0, 0), slice(99, 2, -1)])
def test_many_parts_are_named_by_their_list_and_are_the_same_work(table: Table, taken: slice) -> None:
    parts = list(table.parts)[taken]
    named = Share.of(table.dataset, "files", table.parts[taken])
    sent = Share.model_validate_json(named.model_dump_json())
    assert list(sent.resolve()) == parts
    assert _task(inputs={"files": sent}).key == _task(inputs={"files": Share(root="/", parts=tuple(parts))}).key
    assert isinstance(sent.parts, Lines) == (len(parts) > 64 and taken.step != -1)


def test_few_parts_are_spelled_out(table: Table) -> None:
    share = Share.of(table.dataset, "files", table.parts[::2])
    assert share.parts == tuple(list(table.parts)[::2])
    assert share.keys == tuple(part.key for part in list(table.parts)[::2])


@pytest.mark.parametrize(
    "change",
    [{"digest": "0" * 64}, {"start": 1}, {"stop": 99}, {"stop": 10**18}, {"table": "documents"}],
    ids=lambda change: next(iter(change)),
)
def test_lines_that_are_not_the_planned_ones_are_refused(table: Table, change: Mapping[str, Any]) -> None:
    share = Share.of(table.dataset, "files", table.parts)
    assert isinstance(share.parts, Lines)
    other = share.model_copy(update={"parts": share.parts.model_copy(update=change)})
    if change.get("stop") == 10**18:
        assert list(other.resolve()) == list(share.resolve())
    else:
        with pytest.raises(CorruptDataError, match="repoloom retry"):
            other.resolve()


def test_a_task_of_many_parts_is_a_short_message(table: Table) -> None:
    share = Share.of(table.dataset, "files", table.parts)
    assert len(_task(inputs={"files": share}).model_dump_json()) < 600
    assert share.keys == (f"parts/files-{table.listing.sha256}.jsonl.zst",)


@given(PARTS, st.integers(1, 150))
def test_parts_are_shared_out_in_order_and_each_once(parts: Sequence[Part], task_bytes: int) -> None:
    sides = {"side": parts[:2]}
    shares = list(share_out(parts, "files", task_bytes, sides))
    assert [part for share in shares for part in share["files"]] == parts
    for share in shares:
        assert share["side"] == parts[:2]
        assert len(share["files"]) == 1 or sum(part.bytes for part in share["files"]) <= task_bytes
    for share, following in pairwise(shares):
        room = task_bytes - sum(part.bytes for part in share["files"])
        assert following["files"][0].bytes > room, "a share ends only where the next part does not fit"


@given(PARTS, PARTS, st.integers(1, 150))
def test_more_parts_at_the_end_leave_all_shares_but_the_last_as_they_were(
    parts: list[Part], more: list[Part], task_bytes: int
) -> None:
    shares = list(share_out(parts, "files", task_bytes, {}))
    longer = list(share_out([*parts, *more], "files", task_bytes, {}))
    assert longer[: max(0, len(shares) - 1)] == shares[:-1]


class _Wordy(Params):
    words: int = 3


class _Base(Step[_Wordy]):
    name = "wordy"
    reads = ("files", "side")
    writes: ClassVar = {"files": FILES}

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        raise NotImplementedError


def test_a_step_says_the_model_of_its_parameters() -> None:
    assert params_model(_Base) is _Wordy


def test_a_step_is_planned_over_its_first_table_with_all_of_the_others() -> None:
    parts = [_part("1"), _part("2")]
    tasks = list(_Base(_Wordy()).plan({"files": parts, "side": parts}, task_bytes=1))
    assert tasks == [{"files": [part], "side": parts} for part in parts]


def test_every_step_is_found_by_its_name() -> None:
    for name in ("split.heldout", "split", "tokenize.vocabulary", "tokenize", "mix", "pack"):
        step = load_step(name)
        assert step.name == name
        assert issubclass(params_model(step), Params)


@pytest.mark.parametrize("name", ["", "nothing", "split.nothing", "..os", "os.path", "split.step"])
def test_a_name_of_no_step_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="there is no step"):
        load_step(name)
