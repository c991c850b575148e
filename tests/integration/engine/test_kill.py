"""Killed at any moment, a run that is started again ends as if nothing had happened, and does nothing twice."""

import contextlib
import os
import random
import signal
import subprocess
from itertools import count
from pathlib import Path

import psutil
import pytest
from killing import die_at
from one_process import copy, forked
from probing import Probe, committed, verify_commits

from repoloom.corpus.dataset import Dataset
from repoloom.engine.plan import Table
from repoloom.store.folder import FolderStore


def _scratch(out: Path) -> list[Path]:
    return list(out.rglob(".tmp/*"))


@pytest.fixture
def files(tmp_path: Path) -> Table:
    Probe(tmp_path, step=None, make={"repositories": 3}).run()
    return Table(Dataset.open(str(tmp_path / "probe.make")), "files")


def test_killed_at_every_file_system_event_a_step_goes_on_to_the_same_dataset(tmp_path: Path, files: Table) -> None:
    digest = copy(files, tmp_path / "undisturbed").digest
    for event in count(1):
        out = tmp_path / f"{event}"
        status = forked(lambda out=out, event=event: (die_at(event, below=str(out)), copy(files, out)))
        if status == 0:
            break
        assert status == -signal.SIGKILL
        before = committed(out)

        dataset = copy(files, out)

        assert dataset.digest == digest
        assert before.items() <= committed(out).items()
        assert _scratch(out) == [], "what the dead left was swept"
        dataset.verify()
    assert event > 60, "each object takes several events, and there are more than ten objects"


def test_workers_killed_at_all_stages_of_a_task_are_replaced_within_one_run(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    events = range(1, 31, 2)  # a copy task takes about thirty
    for event in events:
        (tokens / f"{event:02}").touch()
    undisturbed = Probe(tmp_path / "undisturbed", make={"repositories": 4}).run()
    out = tmp_path / "out"

    ended = Probe(
        out,
        make={"repositories": 4},
        environment={"KILL_TOKENS": str(tokens), "KILL_BELOW": str(out)},
    ).run()

    assert list(tokens.iterdir()) == [], "all were killed"
    assert ended == undisturbed
    assert verify_commits(out) == 5


def test_run_worker_or_group_killed_at_random_moments_cost_nothing_that_was_committed(tmp_path: Path) -> None:
    draw = random.Random(20240125)
    probe = Probe(tmp_path / "undisturbed", make={"repositories": 24}, attempts=2)
    undisturbed = probe.run()
    probe.out = tmp_path / "0"
    before: dict[Path, tuple[int, int]] = {}
    kills = 0
    while kills < 100:
        process = probe.start()
        kills += _disturb(process, draw)
        process.communicate()
        assert before.items() <= committed(probe.out).items()
        verify_commits(probe.out)
        before = committed(probe.out)
        if process.returncode == 0:  # it came to its end in spite of all: another is begun
            assert probe.run() == undisturbed
            probe.out = tmp_path / f"{kills}"
            before = {}
    assert probe.run() == undisturbed
    assert before.items() <= committed(probe.out).items()
    assert _scratch(probe.out) == []


def _disturb(process: "subprocess.Popen[str]", draw: random.Random) -> int:
    """Kills workers of a run, and then the run or its whole process group; returns the number of kills."""
    kills = 0
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(draw.uniform(0.1, 0.8))
        if process.returncode is not None:
            return kills
        match draw.choice(["run", "group", "worker", "worker"]):
            case "run":
                process.kill()
            case "group":
                os.killpg(process.pid, signal.SIGKILL)
            case "worker":
                workers = psutil.Process(process.pid).children()[:1]
                for worker in workers:
                    worker.kill()
                kills += len(workers) - 1
        kills += 1


def test_the_end_of_a_run_is_the_end_of_its_workers(tmp_path: Path) -> None:
    process = Probe(tmp_path, params={"bad": {"probe/000": "hang"}}).start()
    run = psutil.Process(process.pid)
    while not (workers := run.children()):
        assert process.poll() is None
    process.kill()
    process.communicate()
    assert psutil.wait_procs(workers, timeout=60)[1] == []


def test_an_object_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)

    def write(content: bytes) -> None:
        with store.create("a/b") as file:
            for start in range(0, len(content), 10_000):
                file.write(content[start : start + 10_000])
                file.flush()

    old, new = b"old" * 50_000, b"new" * 50_000
    for event in count(1):
        write(old)
        status = forked(lambda event=event: (die_at(event, below=str(tmp_path)), write(new)))
        assert store.read("a/b") in ((new,) if status == 0 else (old, new))
        store.sweep()
        assert _scratch(tmp_path) == []
        if status == 0:
            break
    assert event >= 4
