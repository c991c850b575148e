"""The reconciler and its pool, as a caller in the same process sees them."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from probing import EXTRA_STAGES, Probe

from repoloom.corpus.dataset import Dataset
from repoloom.corpus.ledger import Count
from repoloom.corpus.manifest import Part, Quarantined
from repoloom.corpus.parts import columns_of, write_listing
from repoloom.corpus.reading import verify_part
from repoloom.engine import execute, retry
from repoloom.engine.execute import load_step, params_model
from repoloom.engine.plan import Plan, Table
from repoloom.engine.pool import Limits, LocalPool
from repoloom.engine.reconcile import IncompleteInputError, Policy, Status, reconcile
from repoloom.engine.retry import Forgotten, forget
from repoloom.engine.step import Params, Step
from repoloom.engine.task import Commit, Task
from repoloom.errors import InputError
from repoloom.store import Store

POLICY = Policy(task_bytes=1, attempts=2)


def _copy(**params: Any) -> Step[Params]:
    step = load_step("probe.copy")
    return step(params_model(step)(**params))


def _of_parts(files: Table, parts: Sequence[Part]) -> Table:
    """A table of other parts than a dataset's own."""
    listing = write_listing(files.dataset.store, "files", columns_of(parts))
    manifest = files.dataset.manifest.model_copy(update={"tables": {"files": listing}})
    return Table(Dataset(files.dataset.uri, manifest), "files")


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalPool]:
    monkeypatch.setenv("PYTHONPATH", str(EXTRA_STAGES))
    with LocalPool(2, Limits()) as pool:
        yield pool


@pytest.fixture
def files(tmp_path: Path) -> Table:
    Probe(tmp_path, step=None, make={"repositories": 3}).run()
    return Table(Dataset.open(str(tmp_path / "probe.make")), "files")


def test_equal_parts_are_one_piece_of_work_and_count_as_often_as_they_are_there(
    tmp_path: Path, files: Table, pool: LocalPool
) -> None:
    tables = {"files": _of_parts(files, [*files.parts, *files.parts])}
    once = reconcile(_copy(), {"files": files}, str(tmp_path / "once"), pool, POLICY)

    twice = reconcile(_copy(), tables, str(tmp_path / "twice"), pool, POLICY)

    assert list(twice.parts("files")) == list(once.parts("files")) * 2
    assert twice.manifest.ledger.entering.items == 2 * once.manifest.ledger.entering.items
    twice.verify()


def test_whoever_watches_sees_each_task_end(tmp_path: Path, files: Table, pool: LocalPool) -> None:
    seen: list[Status] = []
    step = _copy(bad={"probe/001": "raise"})
    reconcile(step, {"files": files}, str(tmp_path / "out"), pool, POLICY, seen.append)
    sizes = [part.bytes for part in files.parts]
    start = Status("probe.copy", 3, done=0, quarantined=0, redone=0, reused=0, bytes=sum(sizes), bytes_done=0)
    end = replace(start, done=2, quarantined=1, redone=1, bytes_done=sizes[0] + sizes[2])
    assert (seen[0], seen[-1]) == (start, end)
    assert len(seen) == 5, "at the start, and after each of four attempts"

    again: list[Status] = []
    reconcile(step, {"files": files}, str(tmp_path / "out"), pool, POLICY, again.append)
    assert again == [replace(end, redone=0, reused=2)]


def test_an_attempt_that_ends_after_another_leaves_what_that_committed(
    tmp_path: Path, files: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(_copy(), {"files": files}, str(tmp_path / "out"), 1)
    task = plan.task(next(iter(plan)))
    path = tmp_path / "out" / task.commit_key
    written: list[int] = []

    def wake(task: Task, table: str) -> Count:
        """Just before the attempt commits, as it thaws, another has done its task."""
        monkeypatch.undo()
        execute.execute(task)
        written.append(path.stat().st_ino)
        return execute.entering(task, table)

    monkeypatch.setattr(execute, "entering", wake)
    commit = execute.execute(task)
    assert written == [path.stat().st_ino]
    assert commit == Commit.model_validate_json(path.read_bytes())


class LostError(Exception):
    """The output is another's by now."""


def test_who_no_longer_owns_the_output_writes_no_manifest_and_the_next_needs_only_that(
    tmp_path: Path, files: Table, pool: LocalPool
) -> None:
    out = tmp_path / "out"

    def lost() -> None:
        assert len(list(out.rglob("commit.json"))) == 3, "it is asked when all else is done"
        raise LostError

    with pytest.raises(LostError):
        reconcile(_copy(), {"files": files}, str(out), pool, POLICY, fence=lost)
    assert not (out / "manifest.json").exists()

    seen: list[Status] = []
    dataset = reconcile(_copy(), {"files": files}, str(out), pool, POLICY, seen.append)
    assert seen[0].reused == 3
    dataset.verify()


def test_a_step_over_no_parts_is_an_empty_dataset(tmp_path: Path, files: Table, pool: LocalPool) -> None:
    empty = reconcile(_copy(), {"files": _of_parts(files, [])}, str(tmp_path / "out"), pool, POLICY)
    assert list(empty.parts("files")) == list(empty.parts("dropped")) == []
    assert Dataset.open(empty.uri).digest == empty.digest


def test_a_dataset_says_which_tables_it_has(files: Table) -> None:
    with pytest.raises(InputError, match="has no table 'documents', it has: files"):
        files.dataset.parts("documents")


def test_workers_are_kept_from_step_to_step(tmp_path: Path, files: Table, pool: LocalPool) -> None:
    reconcile(_copy(), {"files": files}, str(tmp_path / "a"), pool, POLICY)
    workers = list(pool._workers)
    reconcile(_copy(), {"files": files}, str(tmp_path / "b"), pool, POLICY)
    assert pool._workers == workers


@pytest.mark.parametrize(("error", "cause"), [("bad benchmark\nat line 3", "bad benchmark"), ("", "crash")])
def test_a_side_table_with_holes_stops_the_step_that_needs_all_of_it(tmp_path: Path, error: str, cause: str) -> None:
    whole = Probe(tmp_path, step=None, make={"repositories": 2})
    whole.run()
    files = Table(Dataset.open(str(tmp_path / "probe.make")), "files")
    failure = Quarantined(task="0" * 32, inputs={}, at="", kind="crash", error=error, attempts=3)
    holed = Dataset(files.dataset.uri, files.dataset.manifest.model_copy(update={"quarantined": (failure,)}))
    step = load_step("split")
    tables = {"documents": files, "heldout_files": Table(holed, "files")}
    said = rf"split needs all of probe\.make.*\({cause}\).*repoloom retry"
    with LocalPool(1, Limits()) as pool, pytest.raises(IncompleteInputError, match=said):
        reconcile(step(params_model(step)()), tables, str(tmp_path / "split"), pool, Policy())
    assert not (tmp_path / "split").exists()


def test_what_was_quarantined_is_counted_in_the_ledger(tmp_path: Path) -> None:
    Probe(tmp_path, make={"repositories": 3}, params={"bad": {"probe/001": "raise"}}).run()
    ledger = Dataset.open(str(tmp_path / "probe.copy")).manifest.ledger
    assert ledger.imbalance() is None
    assert (ledger.entering.items, ledger.quarantined.items) == (9, 3)


def test_retry_reads_the_parts_of_several_commits_at_once(
    tmp_path: Path, files: Table, pool: LocalPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = reconcile(_copy(), {"files": files}, str(tmp_path / "out"), pool, POLICY)
    together = threading.Barrier(3, timeout=60)

    def verify(store: Store, part: Part) -> None:
        if part.key.rpartition("/")[2].startswith("files-"):
            together.wait()
        verify_part(store, part)

    monkeypatch.setattr(retry, "verify_part", verify)
    assert forget(made.uri) == Forgotten(failures=0, corrupt=0)


def test_retry_forgets_only_what_the_engine_wrote(tmp_path: Path) -> None:
    (tmp_path / "failures").mkdir()
    (tmp_path / "failures" / "precious.txt").write_text("mine")
    assert forget(str(tmp_path)) == Forgotten(failures=0, corrupt=0)
    assert (tmp_path / "failures" / "precious.txt").exists()
