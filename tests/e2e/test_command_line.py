"""The command line, as a person or a script meets it, on one small run from folders to a model."""

import json
import os
import random
import re
import shutil
import tarfile
from pathlib import Path

import pytest
from command import Run, interrupted_at, killed_after, repoloom

from repoloom.recipe.hold import hold

AWAY = "git/nowhere.invalid/at/all"


def test_a_run_ends_with_a_digest_a_model_and_a_report(small_run: Run) -> None:
    made = small_run.result.json
    assert made["digest"].startswith("sha256:")
    assert Path(made["report"]).is_file()
    assert (small_run.out / "model" / "model.safetensors").is_file()
    assert "unigram" in small_run.result.err
    assert "bits/byte" in small_run.result.err
    assert "evaluate  trained model fills 10 holes" in small_run.result.err


def test_a_source_that_cannot_be_reached_is_listed_and_the_run_goes_on(small_run: Run) -> None:
    assert "nowhere.invalid" in small_run.result.err


def test_the_model_beats_the_unigram_baseline_and_its_untrained_twin(small_run: Run) -> None:
    trained = json.loads((small_run.out / "training.json").read_text())
    assert trained["final_loss"] < trained["unigram_loss"]
    overall = json.loads((small_run.out / "evaluation.json").read_text())["evaluation"]["overall"]
    assert overall["trained"]["bits_per_byte"] < overall["untrained"]["bits_per_byte"]


def test_running_again_does_nothing_again(small_run: Run) -> None:
    commits = {path: path.stat().st_mtime_ns for path in small_run.out.glob("*/tasks/*/commit.json")}
    again = repoloom("run", small_run.recipe, "--out", small_run.out, "--workers", 1, "--json")
    assert again.code == 0
    assert again.json["digest"] == small_run.result.json["digest"]
    assert {path: path.stat().st_mtime_ns for path in small_run.out.glob("*/tasks/*/commit.json")} == commits


def test_digest_is_the_last_dataset_s(small_run: Run) -> None:
    assert repoloom("digest", small_run.out).out.strip() == small_run.result.json["digest"]
    assert repoloom("digest", small_run.out, "--json").json == small_run.result.json["steps"]


def test_until_stops_after_a_stage(small_run: Run, tmp_path: Path) -> None:
    partial = repoloom("run", small_run.recipe, "--out", tmp_path / "out", "--until", "filter", "--json")
    assert partial.code == 0, partial.err
    assert list(partial.json["steps"]) == ["crawl.sources", "crawl", "filter"]
    assert partial.json["steps"]["filter"] == small_run.result.json["steps"]["filter"]


def test_a_corpus_of_nothing_is_said_to_be_one(small_run: Run, tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"name: n\ncrawl:\n  sources: [{{kind: folder, path: {tmp_path}/sources}}]\n")

    def said(out: str, until: str) -> str:
        ended = repoloom("run", recipe, "--out", tmp_path / out, "--until", until)
        assert ended.code == 0, ended.err
        return ended.err

    assert "empty   crawl left nothing; the report shows why" in said("none", "filter")
    (tmp_path / "sources/tiny.py").write_text("a = 1\n")
    assert "empty   filter left nothing; the report shows why" in said("tiny", "pack")
    assert "empty   " not in small_run.result.err
    shutil.copytree(Path(json.__file__).parent, tmp_path / "sources/json")
    for until in ("crawl", "split", "tokenize", "mix"):  # of which the latter two keep no ledger
        assert "empty   " not in said("some", until)


@pytest.mark.parametrize(
    ("workers", "environment"),
    [
        (1, {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "1"}),
        (5, {"TZ": "America/St_Johns", "LC_ALL": "POSIX", "PYTHONHASHSEED": "77", "PYTHONUTF8": "0"}),
    ],
)
def test_the_digest_is_the_same_with_any_workers_time_zone_and_locale(
    small_run: Run, tmp_path: Path, workers: int, environment: dict[str, str]
) -> None:
    again = repoloom(
        "run", small_run.recipe, "--out", tmp_path, "--until", "pack", "--workers", workers, "--json", **environment
    )
    assert again.code == 0, again.err
    assert again.json["steps"] == small_run.result.json["steps"]


def test_a_run_killed_at_random_moments_ends_with_the_same_digest(small_run: Run, tmp_path: Path) -> None:
    draws = random.Random(4)
    arguments = ("run", small_run.recipe, "--out", tmp_path, "--until", "pack", "--workers", 2, "--json")
    kept: dict[Path, int] = {}
    for _ in range(8):
        killed_after(draws.uniform(0.6, 4), *arguments)
        now = {path: path.stat().st_ino for path in tmp_path.glob("*/tasks/*/commit.json")}
        assert now.items() >= kept.items()
        kept = now
    done = repoloom(*arguments)
    assert done.code == 0, done.err
    assert done.json["steps"] == small_run.result.json["steps"]
    assert {path: path.stat().st_ino for path in tmp_path.glob("*/tasks/*/commit.json")}.items() >= kept.items()


def test_what_is_given_up_is_told_by_exit_code_and_report_and_retried(tmp_path: Path) -> None:
    (tmp_path / "broken.tar.gz").write_bytes(b"this is no archive")
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "a.py").write_text("def add(one, other):\n    return one + other\n")
    recipe = tmp_path / "poison.yaml"
    recipe.write_text(
        "name: poison\nengine: {attempts: 2}\ncrawl:\n  sources:\n"
        f"    - {{kind: archive, path: {tmp_path}/broken.tar.gz}}\n"
        f"    - {{kind: folder, path: {tmp_path}/good}}\n"
    )
    result = repoloom("run", recipe, "--out", tmp_path / "out", "--until", "order", "--json")
    assert result.code == 3
    assert "broken" in result.err
    assert "broken" in Path(result.json["report"]).read_text()
    assert "forgot 1 failed" in repoloom("retry", tmp_path / "out").out
    assert repoloom("run", recipe, "--out", tmp_path / "out", "--until", "order").code == 3
    assert "for a local source that was mended, running again is enough" in result.err
    with tarfile.open(tmp_path / "broken.tar.gz", "w:gz") as mended:
        mended.add(tmp_path / "good/a.py", "a.py")
    assert repoloom("run", recipe, "--out", tmp_path / "out", "--until", "order").code == 0


def test_an_output_that_a_command_writes_to_is_refused_to_others_that_would_and_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.py").write_text("def add(one, other):\n    return one + other\n")
    recipe, out, report = tmp_path / "recipe.yaml", tmp_path / "out", tmp_path / "report"
    recipe.write_text(f"name: held\ncrawl:\n  sources:\n    - {{kind: folder, path: {tmp_path}/source}}\n")
    made = repoloom("run", recipe, "--out", out, "--until", "filter")
    assert made.code == 0, made.err
    with hold(str(out)):
        for writing in (
            ("run", recipe, "--out", out),
            ("run", recipe, "--out", report, "--store", out),
            ("filter", out / "crawl", "--out", out),
            ("retry", out),
            ("retry", out / "filter"),
        ):
            refused = repoloom(*writing)
            assert refused.code == 1
            assert f"is in use by process {os.getpid()}" in refused.err.replace("\n", " ")
        for reading in ("verify", "digest", "report"):
            assert repoloom(reading, out).code == 0
    assert repoloom("retry", out / "filter").code == 0


def test_a_run_whose_datasets_lie_in_a_store_is_read_at_its_folder_too(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.py").write_text("def add(one, other):\n    return one + other\n")
    recipe, out, store = tmp_path / "recipe.yaml", tmp_path / "out", tmp_path / "store"
    recipe.write_text(f"name: apart\ncrawl:\n  sources:\n    - {{kind: folder, path: {tmp_path}/source}}\n")
    made = repoloom("run", recipe, "--out", out, "--store", store, "--until", "order", "--json")
    assert made.code == 0, made.err
    assert not (out / "crawl").exists()
    for reading in (("digest",), ("verify",), ("inspect",), ("retry", "--json")):
        assert repoloom(*reading, out).out == repoloom(*reading, store).out != ""
    assert repoloom("report", out).out.strip() == str(out / "report.html")
    assert repoloom("filter", out, "--out", tmp_path / "again").code == 0


def test_a_stage_alone_makes_the_same_dataset_as_in_a_run(small_run: Run, tmp_path: Path) -> None:
    alone = repoloom("filter", small_run.out / "crawl", "--out", tmp_path, "--recipe", small_run.recipe, "--json")
    assert alone.code == 0, alone.err
    (made,) = alone.json
    assert made["digest"] == small_run.result.json["steps"]["filter"]


def test_verify_holds_and_names_the_first_part_that_does_not(small_run: Run, tmp_path: Path) -> None:
    assert repoloom("verify", small_run.out).code == 0
    broken = tmp_path / "out"
    shutil.copytree(small_run.out, broken)
    part = sorted(broken.glob("filter/tasks/*/files-000-*.parquet"))[0]
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    result = repoloom("verify", broken)
    assert result.code == 1
    assert str(part.relative_to(broken)) in result.err.replace("\n", "")
    assert "repoloom retry" in result.err


def test_retry_mends_a_corrupt_part(small_run: Run, tmp_path: Path) -> None:
    broken = tmp_path / "out"
    shutil.copytree(small_run.out, broken)
    sorted(broken.glob("filter/tasks/*/files-000-*.parquet"))[0].write_bytes(b"")
    retried = repoloom("retry", broken)
    assert "1 corrupt" in retried.out
    again = repoloom("run", small_run.recipe, "--out", broken, "--until", "pack", "--json")
    assert again.code == 0, again.err
    assert again.json["digest"] == small_run.result.json["digest"]
    assert repoloom("verify", broken).code == 0


def test_inspect_shows_files_in_order_and_why(small_run: Run) -> None:
    told = repoloom("inspect", small_run.out, "--repo", "folder/unittest", "--json").json
    files = [file["path"] for document in told["documents"] for file in document["files"]]
    assert files.index("util.py") < files.index("case.py") < files.index("suite.py")
    assert any(
        edge["imported"] == "case.py" for d in told["documents"] for file in d["files"] for edge in file["imports"]
    )
    assert "case.py" in repoloom("inspect", small_run.out, "--repo", "folder/unittest").out


def test_inspect_without_a_repository_lists_all_and_says_which_are_held_out(small_run: Run) -> None:
    told = repoloom("inspect", small_run.out, "--json").json
    names = ("json", "email", "http", "logging", "importlib", "unittest")
    assert [listed["repo"] for listed in told] == sorted([*(f"folder/{name}" for name in names), AWAY])
    assert [lost["kind"] for listed in told for lost in listed["quarantined"]] == ["unavailable"]
    assert all(listed["crawled"] == listed["dropped"] + listed["files"] for listed in told)
    assert f"{AWAY} " in repoloom("inspect", small_run.out).out
    held_out = [listed["repo"] for listed in told if listed["held_out"]]
    assert held_out
    assert repoloom("inspect", small_run.out).out.count("held out for evaluation") == len(held_out)
    assert "held out for evaluation" in repoloom("inspect", small_run.out, "--repo", held_out[0]).out


def test_a_training_stopped_by_ctrl_c_says_what_is_kept_and_the_same_command_goes_on(
    small_run: Run, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(small_run.out, out, ignore=shutil.ignore_patterns("train", "model", "training.json"))
    stopped = interrupted_at("step 12/", "train", small_run.recipe, "--out", out)
    assert stopped.code == 130, stopped.err
    assert "asked to stop" in stopped.err
    kept = r"stopped after step (\d+) of 120 of pretrain: kept is its checkpoint, (\S+); the same command"
    step = re.search(kept, stopped.err)
    assert step
    assert Path(step[2]).is_file()
    went_on = repoloom("train", small_run.recipe, "--out", out, "--json")
    assert went_on.code == 0, went_on.err
    trained = json.loads((small_run.out / "training.json").read_text())
    assert went_on.json["weights"] == trained["weights"]


def test_inspect_of_an_unknown_repository_names_the_nearest(small_run: Run) -> None:
    result = repoloom("inspect", small_run.out, "--repo", "unitest")
    assert result.code == 2
    assert "did you mean 'folder/unittest'" in result.err


def test_edges_are_json_lines(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b.py").write_text("\nimport a\n")
    lines = repoloom("edges", tmp_path).out.splitlines()
    assert [{**json.loads(line), "how": ""} for line in lines] == [
        {"importer": "b.py", "imported": "a.py", "line": 2, "how": ""}
    ]


def test_complete_fills_a_hole(small_run: Run, tmp_path: Path) -> None:
    (tmp_path / "prefix").write_text("import os\n\ndef f(self):\n    return ")
    (tmp_path / "suffix").write_text("\n")
    arguments = ("complete", "--model", small_run.out / "model", "--prefix-file", tmp_path / "prefix", "--json")
    first = repoloom(*arguments, "--suffix-file", tmp_path / "suffix")
    assert first.code == 0, first.err
    assert first.json == repoloom(*arguments, "--suffix-file", tmp_path / "suffix").json


def test_eval_measures_what_was_trained_as_the_run_did(small_run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(small_run.out, out)
    kept = json.loads((out / "evaluation.json").read_text())
    (out / "evaluation.json").unlink()
    measured = repoloom("eval", small_run.recipe, "--out", out, "--json")
    assert measured.code == 0, measured.err
    assert measured.json == kept["evaluation"]
    assert json.loads((out / "evaluation.json").read_text()) == kept


def test_measure_gives_both_models_scores(small_run: Run) -> None:
    model = small_run.out / "model"
    scores = repoloom("measure", "--model", model, "--run", small_run.out, "--holes", 5, "--max-bytes", 5000, "--json")
    assert scores.code == 0, scores.err
    assert scores.json["overall"]["holes"] == 5


def test_export_of_a_checkpoint_opens_in_transformers(small_run: Run, tmp_path: Path) -> None:
    result = repoloom("export", small_run.recipe, "--out", small_run.out, "--to", tmp_path / "exported")
    assert result.code == 0, result.err
    assert (tmp_path / "exported" / "model.safetensors").read_bytes() == (
        small_run.out / "model" / "model.safetensors"
    ).read_bytes()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "exported")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "exported")
    prompt = tokenizer("def f(", return_tensors="pt")
    assert model.generate(**prompt, max_new_tokens=4, do_sample=False).shape[1] > prompt["input_ids"].shape[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "/nowhere.yaml"), "/nowhere.yaml"),
        (("verify", "/nowhere"), "/nowhere"),
        (("digest", "s3://bucket/x"), "s3://"),
        (("edges", "/nowhere"), "/nowhere"),
        (("filter", "/nowhere"), "/nowhere"),
        (("complete", "--model", "/nowhere", "--prefix-file", "/dev/null"), "/nowhere"),
        (("tokenize", "--set", "vocab_sise=3"), "vocab_sise"),
        (("crawl", "--set", "sources=3"), "sources"),
    ],
)
def test_an_error_is_one_line_that_names_what_was_wrong(arguments: tuple[str, ...], said: str) -> None:
    result = repoloom(*arguments)
    assert result.code == 2
    assert said in result.err
    assert "Traceback" not in result.err


def test_help_of_every_command_teaches() -> None:
    for command in (
        "run",
        "crawl",
        "tokenize",
        "verify",
        "inspect",
        "complete",
        "eval",
        "measure",
        "retry",
        "report",
        "export",
        "train",
    ):
        shown = repoloom(command, "--help")
        assert shown.code == 0
        assert len(shown.out.splitlines()) > 8


def test_a_token_is_for_what_there_is() -> None:
    refused = repoloom("token", "me", "inference:onlin")
    assert refused.code == 2
    assert "did you mean 'inference:online'?" in refused.err
    assert repoloom("token", "me", "inference:online", "filter:*").code == 0
