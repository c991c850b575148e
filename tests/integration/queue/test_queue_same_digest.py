"""What a fleet makes is what one machine makes: the same bytes, whatever becomes of workers and of Redis."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from fleet import BUILD, EXTRA_STAGES, Fleet, eventually
from probing import verify_commits
from running import copy_tasks

from repoloom.corpus.dataset import Dataset
from repoloom.engine import execute as engine
from repoloom.engine.execute import load_step, params_model
from repoloom.engine.plan import Table
from repoloom.engine.pool import Limits, LocalPool, Pool
from repoloom.engine.queue import names
from repoloom.engine.reconcile import Policy, reconcile

CPU = f"repoloom.cpu.{BUILD}"
LIMITS = Limits(seconds=20, memory_bytes=400 << 20)
HELD = {f"probe/{number:03}": "hold" for number in range(0, 8, 3)}


def copy(pool: Pool, out: Path, bad: Mapping[str, str] = HELD, repositories: int = 8) -> Dataset:
    """Makes repositories, and copies them one task each."""
    tables: dict[str, Table] = {}
    steps = {"probe.make": {"repositories": repositories}, "probe.copy": {"bad": dict(bad)}}
    for name, params in steps.items():
        step = load_step(name)
        policy = Policy(task_bytes=1, attempts=2)
        dataset = reconcile(step(params_model(step)(**params)), tables, str(out / name), pool, policy)
        tables = {"files": Table(dataset, "files")}
    return dataset


@pytest.fixture(scope="module")
def digest(tmp_path_factory: pytest.TempPathFactory) -> str:
    with pytest.MonkeyPatch.context() as patch, LocalPool(4, LIMITS) as pool:
        patch.setenv("PYTHONPATH", str(EXTRA_STAGES))
        return copy(pool, tmp_path_factory.mktemp("local")).digest


@pytest.mark.parametrize(("workers", "concurrency"), [(1, 1), (2, 2), (4, 1)])
def test_any_number_of_workers_makes_the_dataset_of_the_local_pool(
    fleet: Fleet, digest: str, workers: int, concurrency: int
) -> None:
    fleet.release()
    fleet.start(workers, concurrency)
    with fleet.redis.pool() as pool:
        assert copy(pool, fleet.folder).digest == digest
    assert len(fleet.begun) == 8, "each was done once"


def _lose_all(fleet: Fleet) -> None:
    with fleet.redis.client() as client:
        client.flushall()


def _restart(fleet: Fleet, data: bool) -> None:
    fleet.redis.kill(data)
    fleet.redis.start()


def _kill_a_worker(fleet: Fleet) -> None:
    fleet.workers[0].kill()
    fleet.start()


MISHAPS: dict[str, Callable[[Fleet], None]] = {
    "FLUSHALL": _lose_all,
    "Redis killed, its data kept": lambda fleet: _restart(fleet, data=True),
    "Redis killed, its data lost": lambda fleet: _restart(fleet, data=False),
    "a worker and its children killed": _kill_a_worker,
}


@pytest.mark.parametrize("mishap", MISHAPS.values(), ids=MISHAPS.keys())
def test_a_mishap_amid_the_run_costs_time_and_changes_nothing(
    fleet: Fleet, digest: str, mishap: Callable[[Fleet], None]
) -> None:
    fleet.start(2)

    def strike() -> None:
        eventually(lambda: len(fleet.begun) >= 3)
        mishap(fleet)
        fleet.release()

    striking = threading.Thread(target=strike)
    striking.start()
    with fleet.redis.pool() as pool:
        made = copy(pool, fleet.folder)
    striking.join()

    assert made.digest == digest
    assert verify_commits(fleet.folder) == 9
    assert fleet.begun_after_commit == []


def test_two_reconcilers_of_one_run_at_once_do_each_other_no_harm(fleet: Fleet, digest: str) -> None:
    fleet.start(1, concurrency=2)
    made: list[str] = []

    def reconciler() -> None:
        with fleet.redis.pool() as pool:
            made.append(copy(pool, fleet.folder).digest)

    both = [threading.Thread(target=reconciler) for _ in range(2)]
    for each in both:
        each.start()
    with fleet.redis.client() as client:
        eventually(lambda: int(client.get(names.published(CPU)) or 0) > 2 + 8)  # both have sent some to copy
    fleet.release()
    for each in both:
        each.join()
    assert made == [digest, digest]
    assert fleet.begun_after_commit == []


def test_work_done_twice_would_be_noticed(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.start()
    with fleet.redis.pool() as pool:
        [task] = copy_tasks(pool, fleet.folder, {}, repositories=1)
        list(pool.run([task]))
    assert fleet.begun_after_commit == []
    monkeypatch.setenv("RUN_LOG", str(fleet.run_log))
    monkeypatch.setattr(engine, "committed", lambda *_: None)
    engine.execute(task)
    assert fleet.begun_after_commit == ["probe/000"]


def test_poison_is_quarantined_as_the_local_pool_does(fleet: Fleet, tmp_path: Path) -> None:
    how = ("crash", "hang", "memory", "raise", "exit")
    bad = {f"probe/{number:03}": symptom for number, symptom in enumerate(how, start=1)}
    limits = Limits(seconds=10, memory_bytes=400 << 20)
    with pytest.MonkeyPatch.context() as patch, LocalPool(4, limits) as local:
        patch.setenv("PYTHONPATH", str(EXTRA_STAGES))
        alone = copy(local, tmp_path / "alone", bad)
    fleet.start(1, concurrency=4)
    with fleet.redis.pool(limits) as pool:
        spread = copy(pool, fleet.folder, bad)
    assert spread.digest == alone.digest
    failures = [
        {failure.at: (failure.kind, failure.attempts) for failure in dataset.manifest.quarantined}
        for dataset in (alone, spread)
    ]
    assert failures[0] == failures[1]
    assert len(failures[0]) == len(how)
