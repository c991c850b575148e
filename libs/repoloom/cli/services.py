"""Commands of the distributed form: up, down, jobs, doctor, worker, token."""

import os
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from repoloom.cli import jobs
from repoloom.cli.choices import one_of
from repoloom.cli.doctor import doctor
from repoloom.cli.output import CORES, Json, print_json
from repoloom.cli.up import down, up
from repoloom.errors import InputError
from repoloom.rpc.catalog import Name
from repoloom.text import none_of

_SCOPES = ("*", *(f"{name}:{face}" for name in (*Name, "inference") for face in ("online", "batch", "*")))

_PANEL = "Services"


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (up, down, doctor, worker, token):
        app.command(rich_help_panel=_PANEL)(command)
    app.add_typer(jobs.app, name="jobs", rich_help_panel=_PANEL)


def worker(
    stores: Annotated[
        list[str] | None,
        typer.Option(
            "--store",
            metavar="URI",
            help="A store whose tasks it does, s3://bucket/prefix or a folder; repeat for more.  "
            "[default: those of REPOLOOM_STORE_ROOTS, with commas between]",
        ),
    ] = None,
    queues: Annotated[str, typer.Option(help="Kinds of tasks it takes, with commas between.")] = "cpu,highmem",
    concurrency: Annotated[int, typer.Option(min=1, max=1024, help="Tasks at a time, each in its process.")] = CORES,
) -> None:
    """Do tasks of runs with `--engine celery` and of the services, until told to stop.

    Redis is where REPOLOOM_REDIS_URL says. On SIGTERM a task that runs gets a minute to end, or is given back. With
    REPOLOOM_WORKER_METRICS_ADDRESS, host:port, it serves /metrics and /healthz there. REPOLOOM_CRAWL_ALLOW says what
    a crawl may reach besides public hosts; here nothing, unless it is set.
    """
    from repoloom.engine.queue.attempt import Duty
    from repoloom.engine.queue.roots import Roots
    from repoloom.engine.queue.worker import run_worker
    from repoloom.engine.step import Queue
    from repoloom.store import open_store

    names = [name.strip() for name in queues.split(",")]
    if unknown := [name for name in names if name not in list(Queue)]:
        raise InputError(f"--queues: {none_of(unknown[0], Queue)}")
    if stores:
        roots = Roots(addresses=tuple(open_store(store).uri for store in stores))
    else:
        roots = Roots.from_environment(os.environ)
    run_worker(Duty(queues=tuple(map(Queue, names)), roots=roots), concurrency)


def token(
    name: Annotated[str, typer.Argument(help="Who it is for.")],
    scopes: Annotated[
        list[str],
        typer.Argument(
            help="What it allows: service:online, service:batch, service:*, or *.", **one_of(_SCOPES, "SCOPE…")
        ),
    ],
    days: Annotated[int | None, typer.Option(min=1, help="It expires after so many days.  [default: never]")] = None,
    as_json: Json = False,
) -> None:
    """Make a token for callers of the services, and the entry for the file of callers, which does not hold it."""
    from repoloom.rpc.callers import new_caller

    secret, entry = new_caller(name, scopes, datetime.now(UTC) + timedelta(days=days) if days else None)
    if as_json:
        print_json({"token": secret, "entry": entry})
        return
    typer.echo(
        f"The token, which is shown this once; callers keep it in the file of REPOLOOM_CLIENT_TOKEN_FILE:\n{secret}"
    )
    typer.echo(f"\nThe entry for the services' file of callers, REPOLOOM_SERVER_CALLERS_FILE:\n{entry}", nl=False)
