"""A task that cannot be done is given up with its input and its error; all others are done."""

import errno
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from probing import EXTRA_STAGES, Probe, verify_commits
from running import copy_tasks

from repoloom.corpus.dataset import Dataset
from repoloom.engine.pool import Limits, LocalPool, Outcome
from repoloom.engine.retry import forget
from repoloom.engine.task import Attempt, Commit, Kind

SYMPTOMS = {
    "crash": ("crash", "was killed by signal 11"),
    "exit": ("crash", "exited with 7"),
    "hang": ("timeout", "not done after 6 s"),
    "memory": ("memory", r"took \d+ MiB, the limit is 400 MiB"),
    "memory of a child": ("memory", r"took \d+ MiB, the limit is 400 MiB"),
    "raise": ("error", r"ValueError: this repository is poison \\udcff \(__init__.py:\d+\)"),
    "lose": ("error", "3 items of size 3000 entered, but 0 of 0 were kept and 0 of 0 dropped"),
    "unavailable": ("unavailable", "the host does not answer"),
    "refuse": ("refused", "a repository of this kind is not read"),
}
BAD = {f"probe/{number:03}": how for number, how in enumerate(SYMPTOMS, start=1)}


def test_poison_is_quarantined_while_the_rest_is_done_and_once_cured_leaves_no_trace(tmp_path: Path) -> None:
    cure = tmp_path / "cure"
    probe = Probe(
        tmp_path / "poisoned",
        make={"repositories": len(BAD) + 3},
        params={"bad": BAD, "cured_by": str(cure)},
        limits={"seconds": 6, "memory_bytes": 400 << 20},
    )

    poisoned = probe.run()

    assert set(poisoned.quarantined) == set(BAD), poisoned.error
    for repository, how in BAD.items():
        failure = poisoned.quarantined[repository]
        kind, error = SYMPTOMS[how]
        assert failure["kind"] == kind
        assert re.search(error, failure["error"])
        assert failure["attempts"] == (1 if kind == "refused" else 2), "what is refused once is refused again"
        number = repository.removeprefix("probe/")
        assert failure["inputs"]["files"][0].rpartition("/")[2].startswith(f"files-{number}-")
    copied = Dataset.open(str(probe.out / "probe.copy"))
    copied.verify()
    assert [table["repo"][0].as_py() for table in copied.reader("files").repositories()] == [
        "probe/000",
        "probe/010",
        "probe/011",
    ]
    assert probe.run() == poisoned, "what was given up is not tried again unasked"

    cure.touch()
    assert forget(copied.uri).failures == len(BAD)
    cured = probe.run()
    probe.out = tmp_path / "healthy"
    assert cured.quarantined == {}
    assert cured.digest == probe.run().digest


@contextmanager
def _one_hangs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Iterator[Outcome]]:
    """What is left to come of a run of two tasks, of which one is done and the other hangs."""
    monkeypatch.setenv("PYTHONPATH", str(EXTRA_STAGES))
    with LocalPool(2, Limits(seconds=8)) as pool:
        outcomes = pool.run(copy_tasks(pool, folder, {"probe/001": "hang"}, repositories=2))
        assert isinstance(next(outcomes).result, Commit)
        yield outcomes


def test_a_limit_holds_while_whoever_takes_the_outcomes_does_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _one_hangs(tmp_path, monkeypatch) as outcomes:
        _wait_until_one_is_ended()
        [hung] = outcomes
    assert isinstance(hung.result, Attempt)
    assert (hung.result.kind, hung.result.at) == (Kind.TIMEOUT, "probe/001")


def test_where_memory_cannot_be_looked_at_the_time_limit_holds_and_the_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _one_hangs(tmp_path, monkeypatch) as outcomes:
        monkeypatch.setattr("repoloom.engine.pool.resident", _refuse)
        _wait_until_one_is_ended()
        with pytest.raises(OSError, match="Too many open files"):
            next(outcomes)


def _refuse(_: int) -> int:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def _wait_until_one_is_ended() -> None:
    until = time.monotonic() + 60
    while not any(worker.status() == psutil.STATUS_ZOMBIE for worker in psutil.Process().children()):
        assert time.monotonic() < until, "nobody ended it"
        time.sleep(0.01)


def test_a_quarantined_task_is_part_of_the_digest_and_its_words_are_not(tmp_path: Path) -> None:
    raising = Probe(tmp_path / "a", params={"bad": {"probe/003": "raise"}}).run()
    patient = Probe(tmp_path / "b", params={"bad": {"probe/003": "raise"}}, attempts=3).run()
    assert patient.quarantined["probe/003"]["attempts"] == 3
    assert patient.digest == raising.digest


def test_a_task_may_fail_and_still_be_done_at_a_later_attempt(tmp_path: Path, undisturbed: str) -> None:
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    (tokens / "5").touch()
    out = tmp_path / "out"
    ended = Probe(out, environment={"KILL_TOKENS": str(tokens), "KILL_BELOW": str(out)}).run()
    assert not any(tokens.iterdir()), "a worker was killed"
    assert ended.digest == undisturbed
    assert verify_commits(out) == 9
    assert list(out.rglob("failures/*.json")) == []
