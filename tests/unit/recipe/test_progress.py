import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from repoloom.corpus.dataset import Dataset
from repoloom.corpus.ledger import Ledger
from repoloom.corpus.manifest import Cut, Manifest, Quarantined
from repoloom.engine.reconcile import Status
from repoloom.errors import InputError
from repoloom.recipe.progress import PROGRESS, Progress, recipe_identity, told
from repoloom.store import open_store

RECIPE = {"name": "tiny"}


def at(tmp_path: Path) -> Progress:
    found = Progress.read(open_store(str(tmp_path)))
    assert found
    return found


def status(step: str, done: int) -> Status:
    return Status(step, tasks=4, done=done, quarantined=1, redone=0, reused=0, bytes=0, bytes_done=0)


def dataset(given_up: int) -> Dataset:
    failure = Quarantined(task="t", inputs={}, at="", kind="error", error="no", attempts=3)
    cut = Cut(task_bytes=1, tasks=4)
    quarantined = (failure,) * given_up
    made = Manifest(
        step="crawl", version=1, params={}, inputs={}, tables={}, ledger=Ledger(), cut=cut, quarantined=quarantined
    )
    return Dataset("", made)


def test_what_a_run_does_is_told_from_its_begin_to_its_end(tmp_path: Path) -> None:
    assert Progress.read(open_store(str(tmp_path))) is None
    with told(str(tmp_path), RECIPE, ("crawl",)) as telling:
        begun = at(tmp_path)
        telling.status(status("crawl", 2))
        assert at(tmp_path) == begun.model_copy(
            update={"stage": "crawl", "step": "crawl", "tasks": 4, "done": 2, "quarantined": 1}
        )
        telling.made(dataset(given_up=1))
    ended = at(tmp_path)
    assert begun == Progress(recipe=recipe_identity(RECIPE), state="running", steps_total=begun.steps_total)
    assert (ended.state, ended.steps_done, ended.quarantined, ended.step) == ("done", 1, 1, "")


def test_within_a_step_it_is_told_at_most_every_other_second(tmp_path: Path) -> None:
    now = 0.0
    with told(str(tmp_path), RECIPE, ("crawl",), lambda: now) as telling:
        seen = []
        for done, now in ((0, 0.0), (1, 1.9), (2, 2.0), (3, 3.9)):  # noqa: B007 - it is the clock
            telling.status(status("crawl", done))
            seen.append(at(tmp_path).done)
    assert seen == [0, 0, 2, 2]


def test_an_error_is_told_and_goes_on_its_way(tmp_path: Path) -> None:
    with pytest.raises(InputError), told(str(tmp_path), RECIPE, ("crawl",)):
        raise InputError("no such place")
    assert (at(tmp_path).state, at(tmp_path).message) == ("failed", "no such place")


def test_another_recipe_has_another_identity() -> None:
    assert recipe_identity({"a": 1, "b": 2}) == recipe_identity({"b": 2, "a": 1}) != recipe_identity({"a": 1, "b": 3})


def test_a_run_that_gets_sigterm_stops_as_with_ctrl_c_and_the_next_one_is_done(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for number in range(50):
        (tmp_path / "source" / f"m{number}.py").write_text(f"def add_{number}(a, b):\n    return a + b + {number}\n")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"name: tiny\ncrawl: {{sources: [{{kind: folder, path: {tmp_path / 'source'}}}]}}\n")
    out = tmp_path / "out"
    command = [sys.executable, "-c", "from repoloom.cli import main; main()", "run", str(recipe), "--out", str(out)]
    command += ["--until", "filter", "--json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not (out / PROGRESS).exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.stderr
        said = process.stderr.read()
    assert process.returncode == 130, said
    assert at(out).state == "running"
    again = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert json.loads(again.stdout)["steps"].keys() >= {"crawl", "filter"}
    assert (at(out).state, at(out).steps_done) == ("done", at(out).steps_total)
