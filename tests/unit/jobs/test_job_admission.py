"""What a request may ask for; errors name the field."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from repoloom.errors import CorruptDataError, ForbiddenError, InputError, NotFoundError
from repoloom.jobs.admission import Work, admit
from repoloom.jobs.records import JobRequest
from repoloom.jobs.settings import JobSettings
from repoloom.rpc.errors import DETAILS, ending
from repoloom.text import nearest

STAGES = ("crawl", "filter", "decontaminate")


def _admit(root: Path, stage: str, settings: dict[str, Any] | None = None, **fields: Any) -> Work:
    request = JobRequest(**{"request_id": "one", "stage": stage, "output": f"{root}/out", **fields})
    return admit(request, STAGES, JobSettings(root=str(root), **(settings or {})))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def test_defaults_and_what_is_given_come_together(root: Path) -> None:
    source = {"kind": "pypi", "name": "requests", "version": "2.32.3"}
    parameters = {"sources": [source], "max_depth": 7}
    work = _admit(root, "crawl", parameters=parameters, engine={"attempts": 5}, limits={"seconds": 9})
    assert work.values["sources"][0].name == "requests"
    assert work.values["max_depth"] == 7
    assert (work.policy.attempts, work.policy.task_bytes) == (5, 64 << 20)
    assert (work.limits.seconds, work.limits.memory_bytes) == (9, 4 << 30)


@pytest.mark.parametrize(
    "source",
    [
        {"kind": "folder", "path": "/etc"},
        {"kind": "folder", "path": "{stdlib}"},
        {"kind": "archive", "path": "/a.tar"},
        {"kind": "jsonl", "path": "/a.jsonl"},
        {"kind": "parquet", "path": "/a.parquet"},
        {"kind": "git", "path": "/srv/repository"},
    ],
)
def test_local_sources_are_for_those_whom_the_settings_allow_them(root: Path, source: dict[str, str]) -> None:
    parameters = {"sources": [{"kind": "git", "url": "https://host/a"}, source]}
    with pytest.raises(ForbiddenError, match=r"^parameters\.sources\.1\.path: "):
        _admit(root, "crawl", parameters=parameters)
    allowed = _admit(root, "crawl", {"local_files": True}, parameters=parameters)
    assert allowed.values["sources"][1].path == source["path"]


def test_a_table_that_is_missing_is_named(root: Path) -> None:
    with pytest.raises(InputError, match="filter reads the table 'files'"):
        _admit(root, "filter")


def test_an_input_must_be_a_dataset_or_a_run(root: Path) -> None:
    with pytest.raises(NotFoundError, match=r"^inputs\.0: "):
        _admit(root, "filter", inputs=[f"{root}/nothing"])


def test_an_output_of_jobs_is_no_input_but_what_lies_in_it_is_named(root: Path) -> None:
    for step in ("crawl", "filter"):
        (root / "mine" / step / "tasks/0").mkdir(parents=True)
        (root / "mine" / step / "tasks/0/commit.json").touch()
    with pytest.raises(NotFoundError, match=rf"^inputs\.0: .* give .*: {root}/mine/crawl, {root}/mine/filter$"):
        _admit(root, "filter", inputs=[f"{root}/mine"])


@pytest.mark.parametrize("step", ["../../outside", ".jobs/x", "/etc"])
def test_the_record_of_a_run_names_nothing_outside(root: Path, step: str) -> None:
    (root / "run").mkdir()
    (root / "run/run.json").write_text(json.dumps({"recipe": {}, "made": [{"step": step, "digest": "sha256:0"}]}))
    with pytest.raises(CorruptDataError, match=r"run\.json cannot be read: made\.0\.step"):
        _admit(root, "filter", inputs=[f"{root}/run"])


def test_the_record_of_a_run_names_no_store_outside(root: Path) -> None:
    (root / "run").mkdir()
    made = [{"step": "crawl", "digest": "sha256:0"}]
    (root / "run/run.json").write_text(json.dumps({"recipe": {}, "made": made, "store": f"{root.parent}/outside"}))
    with pytest.raises(ForbiddenError, match=r"^inputs\.0: "):
        _admit(root, "filter", inputs=[f"{root}/run"])


@pytest.fixture
def benchmarks(tmp_path: Path) -> Path:
    folder = tmp_path / "benchmarks"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/humaneval.jsonl").write_text("{}")
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    return folder


def _benchmark(root: Path, benchmarks: Path | None, path: str) -> None:
    settings = {"benchmarks": str(benchmarks)} if benchmarks else {}
    parameters = {"benchmarks": [{"name": "humaneval", "path": path}]}
    _admit(root, "decontaminate", settings, parameters=parameters)


def test_benchmarks_are_files_of_their_folder(root: Path, benchmarks: Path) -> None:
    with pytest.raises(InputError, match="reads the table 'documents'"):  # all else is well
        _benchmark(root, benchmarks, "sub/humaneval.jsonl")
    with pytest.raises(NotFoundError, match=r"^parameters\.benchmarks\.0\.path: "):
        _benchmark(root, benchmarks, "mbpp.jsonl")
    with pytest.raises(ForbiddenError, match="no folder of benchmarks"):
        _benchmark(root, None, "sub/humaneval.jsonl")


@pytest.mark.parametrize("path", ["", "../secret", "/etc/passwd", "sub/../../secret", "link", "\0"])
def test_benchmarks_do_not_leave_their_folder(root: Path, benchmarks: Path, path: str) -> None:
    with pytest.raises(ForbiddenError, match=r"^parameters\.benchmarks\.0\.path: "):
        _benchmark(root, benchmarks, path)


def test_every_wrong_field_is_named_and_no_value_is_shown(root: Path) -> None:
    with pytest.raises(InputError) as caught:
        _admit(root, "filter", parameters={"alphabetic": 7, "max_line_length": "s3cr3t"})
    assert "parameters.alphabetic: " in str(caught.value)
    assert "parameters.max_line_length: " in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"kind": "git", "url": "https://host/x?private_token=s3cr3t"}, "git: `url` must not have a query or"),
        ({"kind": "git", "url": "https://host/x#s3cr3t"}, "git: `url` must not have a query or"),
        ({"kind": "git", "url": "https://me:s3cr3t@host/x"}, "git: `url` must not hold a name or password"),
        ({"kind": "git", "url": "https://host?private_token=s3cr3t"}, "git: `url` names no host or no repository"),
        ({"kind": "git", "url": "https://[s3cr3t]/x"}, "git: `url` has brackets"),
        ({"kind": "git", "url": "s3cr3t://host/x"}, "git: `url` must begin with one of https://"),
        ({"kind": "git", "url": "ext::s3cr3t"}, "git: `url` is not an address"),
        ({"kind": "git", "url": "https://host/x", "revision": "v1..s3cr3t"}, "git: `revision` is a range"),
        ({"kind": "git", "url": "https://host/x", "license": "s3cr3t!"}, "git.license: this is not an SPDX"),
        ({"kind": "npm", "name": "x", "version": "^s3cr3t"}, "npm.version: this is not one version such as '4.17.21'"),
    ],
)
def test_a_wrong_source_is_said_without_its_value(root: Path, source: dict[str, str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        _admit(root, "crawl", parameters={"sources": [source]})
    assert str(caught.value).startswith(f"parameters.sources.0.{said}")
    assert "s3cr3t" not in str(caught.value)
    assert b"s3cr3t" not in dict(ending(caught.value, "r").trailers)[DETAILS]


def test_of_many_wrong_fields_only_those_that_are_said_are_looked_into(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def counted(word: str, allowed: Iterable[str]) -> str:
        asked.append(word)
        return nearest(word, allowed)

    monkeypatch.setattr("repoloom.recipe.model.nearest", counted)
    with pytest.raises(InputError, match=r"; and 39992 more$"):
        _admit(root, "filter", parameters={f"key{number}": 1 for number in range(40_000)})
    assert asked == [f"key{number}" for number in range(8)]


@pytest.mark.parametrize(
    ("stage", "parameters", "said"),
    [
        ("filter", {"max_line_lenght": 7}, "max_line_lenght: there is no such key; did you mean 'max_line_length'?"),
        ("filter", {"alphabetic": 7}, "alphabetic: Input should be less than or equal to 1"),
        ("crawl", {}, "sources: this key is missing"),
        ("crawl", {"sources": [{"kind": "gti"}]}, "sources.0.kind: there is no such kind; did you mean 'git'?"),
    ],
)
def test_a_wrong_parameter_is_said_as_of_a_recipe(root: Path, stage: str, parameters: Any, said: str) -> None:
    with pytest.raises(InputError) as caught:
        _admit(root, stage, parameters=parameters)
    assert str(caught.value).startswith(f"parameters.{said}")
