"""Progress and how work ends: what the numbers count, what is kept on Ctrl-C, what a log has of it."""

import io
from pathlib import Path

import pytest
import typer
from report.written import Writer, row
from rich.console import Console

from repoloom.cli.app import app
from repoloom.cli.output import STOPPED
from repoloom.cli.progress import MADE, RunView
from repoloom.cli.training import EvaluationView, stoppable, train_and_show
from repoloom.evaluation.compare import Status
from repoloom.recipe import sections
from repoloom.recipe.corpus import Corpus
from repoloom.recipe.model_path import Stopped
from repoloom.recipe.results import StageName
from repoloom.stages.mix.step import MIXTURE
from repoloom.training.parallel import SingleProcess


def test_every_stage_without_accounts_says_what_it_makes() -> None:
    last = {stage: sections.steps(stage)[-1] for stage in sections.DATA_PATH}
    assert set(MADE) == {stage for stage, step in last.items() if step.accounts is None}
    assert all(rows.table in last[stage].writes for stage, rows in MADE.items())


@pytest.mark.parametrize(("count", "said"), [(0, "0 domains"), (1, "1 domain"), (2, "2 domains")])
def test_rows_are_called_what_they_are(
    tmp_path: Path, count: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row(MIXTURE, domain=str(number)) for number in range(count)]
    RunView(Console()).made(Writer(tmp_path)("mix", {"mixture": (MIXTURE, rows)}))
    assert f" {said} " in capsys.readouterr().out


def test_a_stage_leaves_one_line_however_many_steps_it_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    view, write = RunView(Console()), Writer(tmp_path)
    for step in sections.steps("dedup"):
        view.made(write(step.name, {}))
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("✓ dedup ")


def test_a_step_that_was_given_nothing_says_so_in_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RunView(Console()).made(Writer(tmp_path)("filter", {}))
    assert "0 →         0 files" in capsys.readouterr().out


def test_an_evaluation_moves_a_line_on_a_terminal_and_leaves_lines_in_a_log() -> None:
    statuses = [Status("trained model fills", done, 20, "holes") for done in range(0, 21, 5)]
    statuses += [Status("untrained model reads", 0, 2_000_000, "bytes")]
    terminal, log = io.StringIO(), io.StringIO()
    with EvaluationView(Console(file=terminal, force_terminal=True, width=120)) as view:
        for status in statuses:
            view.status(status)
            view._progress.refresh()
    assert "15 of 20 holes" in terminal.getvalue()
    assert "left" in terminal.getvalue()
    with EvaluationView(Console(file=log)) as view:
        for status in statuses:
            view.status(status)
    assert log.getvalue().splitlines() == [
        "  evaluate  trained model fills 20 holes",
        "  evaluate  untrained model reads 2.0 MB",
    ]


def test_a_stopped_training_says_what_is_kept_and_what_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = "out/train/1/step-000000004.json"
    monkeypatch.setattr(
        "repoloom.cli.training.train_stages", lambda *_, **__: Stopped(StageName.EXTEND, 4, 9, checkpoint)
    )
    with pytest.raises(typer.Exit) as ended:
        train_and_show([], object.__new__(Corpus), "out", SingleProcess(), Console())
    assert ended.value.exit_code == STOPPED
    assert capsys.readouterr().out == (
        f"stopped after step 4 of 9 of extend: kept is its checkpoint, {checkpoint}; "
        "the same command goes on from there\n"
    )


def test_ctrl_c_outside_the_steps_says_what_is_kept_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, stoppable("the evaluation", "kept is the model", Console()):
        raise KeyboardInterrupt
    assert ended.value.exit_code == STOPPED
    assert capsys.readouterr().out == "stopped in the evaluation: kept is the model\n"


@pytest.mark.parametrize(
    ("command", "said"), [("train", "micro_batch_size"), ("eval", "max_bytes"), ("mix", "weights")]
)
def test_parameters_of_every_section_are_listed_without_a_run(
    command: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        app([command, "--parameters"])
    assert ended.value.code == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["Parameter", "Default", "What", "it", "is"]
    assert any(line.split()[:1] == [said] for line in lines)
