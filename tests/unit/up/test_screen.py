"""The screen of `repoloom up` and the rows of `repoloom jobs` say what is, and no name in them commands a terminal."""

from pathlib import Path

from google.longrunning import operations_pb2
from rich.console import Console

from repoloom.cli.job_row import JobLine, JobRow
from repoloom.cli.up_view import next_command, show_stack
from repoloom.client import Operation
from repoloom.engine.queue.state import QueueState
from repoloom.jobs.records import Progress
from repoloom.protos.jobs.v1.jobs_pb2 import STATE_RUNNING, JobMetadata, StartJobRequest
from repoloom.up.observe import OpenJob, Sight
from repoloom.up.part import Part
from repoloom.up.supervisor import State, Watched

HOSTILE = "[/a]\x1b]0;owned\x07"


def shown(*things: object) -> str:
    console = Console(width=200, force_terminal=True)
    with console.capture() as capture:
        console.print(*things)
    return capture.get()


def test_the_screen() -> None:
    part = Part("redis", "127.0.0.1:1", ("x",), {}, Path("log"), lambda _: True, 1)
    queue = QueueState(name="repoloom.cpu.b", of_this_build=True, waiting=5, running=2, workers=1)
    progress = Progress(steps=3, steps_done=1, tasks=10, done=4, seconds_left=60)
    over = Progress(steps=3, steps_done=3, tasks=10, done=10)
    jobs = (
        OpenJob("filter/" + "ab" * 16, HOSTILE, progress),
        OpenJob("filter/" + "cd" * 16, "filter", None),
        OpenJob("filter/" + "ef" * 16, "filter", over),
    )

    text = shown(show_stack([Watched(part, State.DOWN, restarts=2)], Sight((queue,), 7, jobs)))

    assert "redis" in text
    assert "down" in text
    assert "queue cpu: 5 waiting, 2 running, 1 workers" in text
    assert "step 2 of 3, 4 of 10 tasks, 60 s left" in text
    assert "job filter/cdcdcdcd  filter  waiting" in text
    assert "job filter/efefefef  filter  step 3 of 3, 10 of 10 tasks" in text
    assert "\x1b]0;" not in text


def test_a_row_of_a_job() -> None:
    metadata = JobMetadata(
        request=StartJobRequest(stage=HOSTILE, output="s3://x/y"),
        step="filter",
        steps=2,
        steps_done=1,
        tasks=9,
        tasks_done=3,
        tasks_per_second=1.5,
        state=STATE_RUNNING,
    )
    metadata.time_left.FromSeconds(3700)
    operation = operations_pb2.Operation(name="operations/filter/" + "ab" * 16)
    operation.metadata.Pack(metadata)
    row = JobRow.of(Operation(None, operation))

    cells = [cell.plain for cell in row.cells()]

    assert row.short == "filter/abababab"
    assert "\x1b" not in "".join(cells)
    assert cells[2:] == ["running", "3 of 9", "1.5", "1:01:40"]
    console = Console(width=200, force_terminal=False)
    with console.capture() as capture, JobLine(console) as line:
        line.show(row)
        line.show(row)
        line.show(row.model_copy(update={"steps_done": 2}))
    assert capture.get().count("filter (") == capture.get().count("filter (2 of 2)") == 1


def test_the_next_command_survives_odd_folders() -> None:
    assert next_command("a b/env", "s3://repoloom").startswith(". 'a b/env' && repoloom run RECIPE")
