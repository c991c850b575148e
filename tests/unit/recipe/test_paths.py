"""What a recipe names on this machine is looked for before anything runs, and an error has file, line and key."""

from pathlib import Path

import pytest

from repoloom.cli.app import app

HEAD = "name: small\ncrawl:\n  sources:\n"
HERE = '    - {kind: folder, path: "{stdlib}/json"}\n'


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        app(list(arguments))
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    return Path("recipe.yaml")


@pytest.mark.parametrize("kind", ["folder", "archive", "git"])
def test_a_source_that_is_not_there_is_the_only_thing_said(
    recipe: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe.write_text(HEAD + HERE + f"    - {{kind: {kind}, path: checkout}}\n")
    said = "error: recipe.yaml:5: crawl.sources.1.path: 'checkout' does not exist\n"
    assert refused(capsys, "run", "recipe.yaml") == said
    assert refused(capsys, "crawl", "--recipe", "recipe.yaml") == said
    given = "sources=[{kind: folder, path: checkout}]"
    said = "error: --set sources.0.path: 'checkout' does not exist\n"
    assert refused(capsys, "crawl", "--recipe", "recipe.yaml", "--set", given) == said
    assert not Path("out").exists()


def test_a_benchmark_that_is_not_there_is_found_before_the_crawl(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe.write_text(HEAD + HERE + "decontaminate:\n  benchmarks:\n    - {name: humaneval, path: he.jsonl}\n")
    said = refused(capsys, "run", "recipe.yaml")
    where = "error: recipe.yaml:7: decontaminate.benchmarks.0.path: "
    assert said == where + "benchmark he.jsonl cannot be read: No such file or directory\n"
    assert not Path("out").exists()


@pytest.mark.parametrize("source", ["{kind: folder, path: there}", "{kind: git, path: there}"])
def test_a_relative_source_is_refused_where_workers_have_other_folders(
    recipe: Path, source: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("REPOLOOM_REDIS_URL", raising=False)
    recipe.write_text(HEAD + HERE + f"    - {source}\n")
    for command in (("run", "recipe.yaml"), ("crawl", "--recipe", "recipe.yaml")):
        said = refused(capsys, *command, "--engine", "celery")
        assert said.startswith("error: recipe.yaml:5: crawl.sources.1.path: 'there' is relative, and Celery's workers")
    recipe.write_text(HEAD + HERE + "    - {kind: jsonl, path: s3://bucket/rows.jsonl}\n")
    assert "'s3://bucket/rows.jsonl' is no path" in refused(capsys, "run", "recipe.yaml", "--engine", "celery")
    recipe.write_text(HEAD + HERE)
    assert "relative" not in refused(capsys, "run", "recipe.yaml", "--engine", "celery")


def test_a_folder_that_is_no_git_repository_is_refused_before_the_crawl(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe.write_text(HEAD + HERE + "    - {kind: git, path: there}\n")
    said = refused(capsys, "run", "recipe.yaml")
    assert said.startswith("error: recipe.yaml:5: crawl.sources.1.path: 'there' is no git repository; ")
    assert not Path("out").exists()
