"""What a run tells of its repositories: the list of all, and that one is held out."""

import json
from pathlib import Path

import pytest
from completing import completed
from report.written import DOCUMENTS, DROPPED, FILES, REPOSITORIES, Writer, document, dropped, file, row

from repoloom.cli.app import app
from repoloom.corpus.dataset import Dataset
from repoloom.corpus.manifest import Quarantined
from repoloom.engine.execute import load_step
from repoloom.engine.plan import Plan, Table
from repoloom.errors import InputError
from repoloom.recipe.inspect import list_repositories, look_up
from repoloom.recipe.run import Made, RunRecord
from repoloom.recipe.sections import configure
from repoloom.stages.filter.step import Filter


def _given_up(crawl: Dataset, at: str) -> Quarantined:
    """The first task of a filter over a crawl, as a manifest has it that was given up."""
    plan = Plan(configure(Filter, {}), {"files": Table(crawl, "files")}, "", task_bytes=1)
    task = plan.task(next(iter(plan)))
    inputs = {name: share.keys for name, share in task.inputs.items()}
    return Quarantined(task=task.key, inputs=inputs, at=at, kind="memory", error="too much", attempts=3)


@pytest.fixture
def run(tmp_path: Path) -> str:
    """Of `a` one of three files was dropped, `b` is held out, `c` lost all it had to the crawl, `d` was not reached.

    `e` and `f` were lost with one task of the filter, which failed at `f`.
    """
    write = Writer(tmp_path)
    about = [row(REPOSITORIES, repo=repo, license="MIT", files=2) for repo in "abef"]
    lost = [dropped("a", "large.py", "too_large"), dropped("c", "only.py", "too_large")]
    away = Quarantined(task="0", inputs={}, at="d", kind="unavailable", error="its host is away\nTraceback", attempts=3)
    ordered = [document("a", 0, ["x.py"]), document("a", 1, ["y.py"]), document("b", 0, ["x.py", "y.py"])]
    moved = [dropped("b", path, "held_out") for path in ("x.py", "y.py")]
    files = [file(repo, path) for repo in "ef" for path in ("x.py", "y.py")]
    crawl = write(
        "crawl",
        {"repositories": (REPOSITORIES, about), "dropped": (DROPPED, lost), "files": (FILES, files)},
        entering=(2, 20),
        quarantined=[away],
    )
    made = [
        crawl,
        write("filter", {"files": (FILES, [])}, version=Filter.version, quarantined=[_given_up(crawl, at="f")]),
        write("order", {"documents": (DOCUMENTS, ordered)}),
        write("split.heldout", {"heldout": (DOCUMENTS, ordered[2:])}),
        write(
            "split",
            {"documents": (DOCUMENTS, ordered[:2]), "dropped": (DROPPED, moved)},
            kept=("documents",),
            entering=(4, 40),
        ),
    ]
    record = RunRecord(recipe={}, made=tuple(Made(step=one.manifest.step, digest=one.digest) for one in made))
    record.write(str(tmp_path))
    return str(tmp_path)


def test_the_list_counts_what_became_of_every_repository(run: str) -> None:
    found = {listed.repo: listed for listed in list_repositories(run)}
    numbers = {repo: (its.crawled, its.dropped, its.files, its.bytes, its.documents) for repo, its in found.items()}
    assert numbers == {
        "a": (3, 1, 2, 20, 2),
        "b": (2, 0, 2, 20, 1),
        "c": (1, 1, 0, 0, 0),
        "d": (0,) * 5,
        **dict.fromkeys("ef", (2, 0, 0, 0, 0)),
    }
    assert [repo for repo, its in found.items() if its.held_out] == ["b"]
    assert all(its.crawled == its.dropped + its.files or its.quarantined for its in found.values())


def test_a_held_out_repository_is_said_to_be_and_still_shows_its_documents(
    run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = look_up(run, "b")
    assert found.held_out
    assert (found.documents_of, found.dropped) == ("split.heldout", ())
    assert [file.path for file in found.documents[0].files] == ["x.py", "y.py"]
    assert not look_up(run, "a").held_out
    with pytest.raises(SystemExit):
        app(["inspect", run, "--repo", "b"])
    assert "held out for evaluation" in capsys.readouterr().out


def test_without_a_repository_inspect_lists_them(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app(["inspect", run])
    assert ended.value.code == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["repository", "crawled", "dropped", "kept", "documents", "licence"]
    assert [line.split()[0] for line in lines] == ["a", "b", "c", "d", "e", "f"]
    assert [line.partition("  MIT")[2] or line.partition("  –  ")[2] for line in lines] == [
        "",
        "  held out for evaluation",
        "",
        "quarantined by crawl: unavailable: its host is away",
        "  lost with a task of filter quarantined at f: memory: too much",
        "  quarantined by filter: memory: too much",
    ]
    with pytest.raises(SystemExit):
        app(["inspect", run, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert [lost["kind"] for lost in told[3]["quarantined"]] == ["unavailable"]
    assert told[0] == {
        "repo": "a",
        "license": "MIT",
        "crawled": 3,
        "dropped": 1,
        "documents": 2,
        "files": 2,
        "bytes": 20,
        "held_out": False,
        "quarantined": [],
    }


def test_what_is_quarantined_can_be_looked_up_with_its_reason(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    (lost,) = look_up(run, "d").quarantined
    assert (lost.step, lost.kind, lost.attempts) == ("crawl", "unavailable", 3)
    assert look_up(run, "a").quarantined == ()
    assert [(lost.step, lost.at) for repo in "ef" for lost in look_up(run, repo).quarantined] == [("filter", "f")] * 2
    with pytest.raises(SystemExit):
        app(["inspect", run, "--repo", "d"])
    assert "quarantined by crawl: unavailable: its host is away\n" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        app(["inspect", run, "--repo", "e"])
    assert "lost with a task of filter quarantined at f: memory: too much\n" in capsys.readouterr().out


def test_a_task_that_failed_before_it_had_read_anything_still_names_what_is_lost_with_it(tmp_path: Path) -> None:
    write = Writer(tmp_path)
    crawl = write("crawl", {"files": (FILES, [file("a", "x.py"), file("b", "x.py")])})
    killed = _given_up(crawl, at="")
    filtered = write("filter", {"files": (FILES, [])}, version=Filter.version, quarantined=[killed])
    made = tuple(Made(step=one.manifest.step, digest=one.digest) for one in (crawl, filtered))
    RunRecord(recipe={}, made=made).write(str(tmp_path))
    assert [listed.repo for listed in list_repositories(str(tmp_path))] == ["a", "b"]
    assert [listed.repo for listed in list_repositories(filtered.uri)] == [""]  # of what it read nothing is at hand


def test_of_a_task_whose_table_names_no_repositories_where_it_stood_is_told(tmp_path: Path) -> None:
    write = Writer(tmp_path)
    failed = Quarantined(task="0", inputs={}, at="a", kind="error", error="no", attempts=3)
    steps = (
        write("dedup.bands", {"banded": (None, b"no table")}),
        write("dedup.candidates", {}, version=load_step("dedup.candidates").version, quarantined=[failed]),
    )
    made = tuple(Made(step=one.manifest.step, digest=one.digest) for one in steps)
    RunRecord(recipe={}, made=made).write(str(tmp_path))
    assert [listed.repo for listed in list_repositories(str(tmp_path))] == ["a"]


def test_what_can_be_looked_up_is_completed_from_the_run_and_nothing_is_said_where_there_is_none(run: str) -> None:
    assert completed("inspect", run, "--repo", "") == ["a", "b", "d", "e", "f"]
    assert completed("inspect", f"{run}/nowhere", "--repo", "") == []
    assert completed("inspect", "--repo", "") == []


def test_where_jobs_left_datasets_and_no_run_they_are_named(run: str) -> None:
    Path(run, "run.json").unlink()
    with pytest.raises(InputError, match=rf"^{run} is neither .*: {run}/crawl, .*, {run}/split$"):
        list_repositories(run)


def test_a_single_dataset_is_listed_too(run: str) -> None:
    assert [(listed.repo, listed.files) for listed in list_repositories(f"{run}/order")] == [("a", 2), ("b", 2)]
