"""What stands on a terminal is what is there: foreign text neither commands it nor is read as markup."""

import errno
import json
import logging
from pathlib import Path

import pytest
from completing import completed
from rich.console import Console

from repoloom.cli.app import app
from repoloom.cli.output import ShowWarnings, print_json, show_error
from repoloom.cli.progress import RunView
from repoloom.cli.repository import show_repository
from repoloom.cli.training import show_sample
from repoloom.corpus.dataset import Dataset
from repoloom.corpus.ledger import Ledger
from repoloom.corpus.manifest import Cut, Manifest, Quarantined
from repoloom.evaluation.result import Sample
from repoloom.recipe.inspect import Document, Dropped, File, Import, Lost, Repository

HOSTILE = "[/a]\x1b]0;owned\x07\x9b2J\u202e"


def holds(shown: str) -> None:
    assert "[/a]⟨001B⟩" in shown
    assert not set("\x1b\x07\x9b\u202e") & set(shown)


def test_an_error_and_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(HOSTILE)
    holds(capsys.readouterr().err)
    logger = logging.Logger("repoloom.test")
    logger.addHandler(ShowWarnings())
    logger.warning("%s is set aside", HOSTILE)
    shown = capsys.readouterr().err
    holds(shown)
    assert shown.startswith("warning: ")
    assert len(shown.splitlines()) == 1


def test_a_sample(capsys: pytest.CaptureFixture[str]) -> None:
    fields = dict.fromkeys(("repo", "path", "language", "prefix", "truth", "suffix", "written"), HOSTILE)
    show_sample(Sample(**fields, exact=False), Console(width=500))
    holds(capsys.readouterr().out)


def test_a_repository(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    edge = Import(imported=HOSTILE, line=1, how=HOSTILE)
    file = File(path=HOSTILE, language=HOSTILE, size=1, imports=(edge,))
    dropped = Dropped(
        step="filter", path=HOSTILE, language="", size=1, rule="r", value=1, threshold=2, detail=HOSTILE + "\nforged"
    )
    show_repository(
        Repository(
            repo=HOSTILE,
            revision=HOSTILE,
            license=HOSTILE,
            held_out=True,
            documents_of="order",
            documents=(Document(number=0, files=(file,)),),
            cycles=((HOSTILE,),),
            dropped=(dropped,),
            quarantined=(Lost(step="order", kind="error", error=HOSTILE + "\nforged", attempts=2, at=HOSTILE),),
        )
    )
    shown = capsys.readouterr().out
    holds(shown)
    assert len(shown.splitlines()) == 9
    assert "document 0: 1 file, " in shown
    assert "dropped: 1 file\n" in shown


@pytest.mark.parametrize("said", [HOSTILE, ""])
def test_a_failure(capsys: pytest.CaptureFixture[str], said: str) -> None:
    failure = Quarantined(task="t", inputs={}, at=HOSTILE, kind="error", error=said, attempts=1)
    cut = Cut(task_bytes=1, tasks=1)
    manifest = Manifest(
        step="filter", version=1, params={}, inputs={}, tables={}, ledger=Ledger(), cut=cut, quarantined=(failure,)
    )
    RunView(Console(width=500)).made(Dataset("nowhere", manifest))
    holds(capsys.readouterr().out)


def test_json_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"path": HOSTILE + "\udcff"})
    assert capsys.readouterr().out.isascii()


@pytest.mark.parametrize(
    "arguments",
    [
        ["filter", "--set", "a=["],
        ["filter", "--set", "a=2024-13-45"],
        ["filter", "--set", "a={b: 1, b: 2}"],
        ["complete", "--model", "/nowhere", "--prefix-file", "/dev/null", "--top-p", "0"],
        ["complete", "--model", "/nowhere", "--prefix-file", "/dev/null", "--temperature", "inf"],
        ["run", "[/a]"],
        ["run", "[/a]", "--workers", "0"],
        ["run"],
        ["rnu"],
        ["verify", "/nowhere"],
        ["verify", "http://host/run"],
        ["worker", "--queues", "gpu", "--store", "data"],
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["complete", "--model", "m", "--prefix-file", "p", "--until", "ed"], "none of line, end; did you mean 'end'?"),
        (["run", "recipe", "--until", "pak"], "mix, pack; did you mean 'pack'?"),
        (["jobs", "start", "fliter", "--output", "x"], "did you mean 'filter'?"),
        (["run", "recipe", "--engine", "celry"], "none of local, celery; did you mean 'celery'?"),
        (["export", "recipe", "--to", "t", "--dtype", "float23"], "did you mean 'float32'?"),
        (["up", "--services", "dedupr"], "did you mean 'deduper'?"),
        (["worker", "--queues", "hihmem", "--store", "data"], "did you mean 'highmem'?"),
    ],
)
def test_a_word_that_is_none_of_a_set_is_told_the_set_and_the_nearest(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        app(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "kind", "said"),
    [
        (["verify", "--jsn", "--json"], 2, "UsageError", "--jsn"),
        (["verify", "/nowhere", "--json"], 2, "InputError", "/nowhere holds no run"),
        (["jobs", "--target", "localhost:1", "--json"], 1, "UnavailableError", "localhost:1 does not answer"),
    ],
)
def test_with_json_an_error_is_an_object_on_the_last_line_of_stderr(
    arguments: list[str], code: int, kind: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        app(arguments)
    assert ended.value.code == code
    shown = capsys.readouterr()
    assert shown.out == ""
    error = json.loads(shown.err.splitlines()[-1])["error"]
    assert error["kind"] == kind
    assert said in error["message"]


def test_what_the_file_system_refuses_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", "out/manifest.json")

    monkeypatch.setattr("repoloom.recipe.run.datasets_at", refused)
    with pytest.raises(SystemExit) as ended:
        app(["digest", "out"])
    assert ended.value.code == 1
    assert capsys.readouterr().err == "error: out/manifest.json: Permission denied\n"


@pytest.mark.parametrize(
    ("said", "arguments"),
    [
        ("set AWS_ACCESS_KEY_ID", ["digest", "s3://bucket/x"]),
        ("rediss:// for TLS", ["worker", "--store", "here"]),
    ],
)
def test_what_is_not_set_is_in_the_file_of_a_stack_where_there_is_one(
    said: str,
    arguments: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("AWS_ACCESS_KEY_ID", "REPOLOOM_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    ways = []
    for _ in range(2):
        with pytest.raises(SystemExit):
            app(arguments)
        ways.append(capsys.readouterr().err.partition(said)[2])
        (tmp_path / ".repoloom").mkdir(exist_ok=True)
        (tmp_path / ".repoloom/env").touch()
    assert ways == ["\n", ", or `. .repoloom/env` for the stack of `repoloom up`\n"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["run", "--until", "de"], ["dedup", "decontaminate"]),
        (["run", "--engine", ""], ["local", "celery"]),
        (["jobs", "start", "t"], ["tokenize"]),
        (["complete", "--until", ""], ["line", "end"]),
    ],
)
def test_words_of_a_set_are_completed(words: list[str], found: list[str]) -> None:
    assert completed(*words) == found
