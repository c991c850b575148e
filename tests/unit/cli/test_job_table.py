"""The list of jobs, on a screen and in a pipe."""

from datetime import UTC, datetime

from rich.console import Console

from repoloom.cli.job_row import JobRow, table_of


def row(service: str) -> JobRow:
    return JobRow(
        name=f"operations/{service}/{'1a2b3c4d' * 4}",
        stage="tokenize",
        state="running",
        output="s3://bucket/out",
        step="tokenize.vocabulary",
        steps_done=0,
        steps=2,
        tasks_done=100,
        tasks=100_000,
        quarantined=0,
        tasks_per_second=12.5,
        seconds_left=3_600,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        error=None,
        datasets={},
    )


def test_a_job_s_name_is_whole_on_a_narrow_screen() -> None:
    console = Console(width=60)
    with console.capture() as shown:
        console.print(table_of([row("tokenizer"), row("dependency_sorter")]))
    assert "tokenizer/1a2b3c4d " in shown.get()
    assert "dependency_sorter/1a2b3c4d " in shown.get()
