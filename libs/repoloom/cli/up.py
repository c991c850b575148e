"""`repoloom up` and `repoloom down`: the distributed form on this machine, without a cluster."""

from pathlib import Path
from typing import Annotated

import typer

from repoloom.cli.output import CORES

FOLDER = Path(".repoloom")

FolderOption = Annotated[
    Path, typer.Option("--folder", help="Folder of the stack that `repoloom up` runs.", file_okay=False)
]


def up(
    folder: FolderOption = FOLDER,
    workers: Annotated[
        int, typer.Option(min=0, max=1024, help="Tasks at a time, each in its process. 0: workers run elsewhere.")
    ] = CORES,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="Where datasets go, instead of an S3 server of its own: s3://bucket/prefix on the server of AWS_*, "
            "or a folder.",
        ),
    ] = None,
    services: Annotated[str, typer.Option(help="all, none, or names with commas between.")] = "all",
    port: Annotated[
        int, typer.Option(min=0, max=65000, help="Ports are this + 1 and on, on loopback. 0: any that are free.")
    ] = 7000,
    detach: Annotated[bool, typer.Option("--detach", help="Return once all is up; `repoloom down` ends it.")] = False,
) -> None:
    """Start everything on this machine: Redis, an S3 server, the seven services, workers.

    Then, in another shell: `. .repoloom/env && repoloom run RECIPE --engine celery --store s3://repoloom/run`.
    What dies is started again. Ctrl-C ends all; what was made is kept, and the same command goes on with it.
    A Redis that REPOLOOM_REDIS_URL names is used instead of one of its own. Logs are in FOLDER/logs.
    """
    from rich.console import Console

    from repoloom.cli.up_view import UpView, next_command
    from repoloom.up.detach import start_detached
    from repoloom.up.folder import AlreadyRunningError, Folder
    from repoloom.up.plan import Wishes, services_of
    from repoloom.up.record import read_record
    from repoloom.up.stack import run_stack

    console = Console()
    place = Folder(folder)
    wishes = Wishes(workers=workers, services=services_of(services), store=store, port=port)
    env = _sourceable(folder)
    try:
        with place.unless_unused():
            if detach and place.holder() is None:
                options = ["--folder", str(place.path), "--workers", str(workers), "--services", services]
                options += ["--port", str(port), *(["--store", store] if store else [])]
                record = start_detached(place, options)
                console.print(f"All is up, as process {record.pid}; `repoloom down` ends it. Next:", highlight=False)
                console.print(next_command(env, record.store), style="bold", soft_wrap=True, highlight=False)
                return
            with UpView(console, env) as view:
                run_stack(place, wishes, view)
    except AlreadyRunningError as error:
        console.print(f"{error}; `repoloom down` ends it.", soft_wrap=True, highlight=False)
        if (running := read_record(place)) is not None:
            console.print(next_command(env, running.store), style="bold", soft_wrap=True, highlight=False)


def down(folder: FolderOption = FOLDER) -> None:
    """End what `repoloom up` runs in a folder, and wait for it. What was made is kept."""
    from repoloom.up.detach import end_stack
    from repoloom.up.folder import Folder

    typer.echo("All has ended." if end_stack(Folder(folder)) else f"Nothing runs in {folder}.")


def _sourceable(folder: Path) -> str:
    """The file `env` as a shell finds it: without a slash it would look along PATH."""
    path = folder / "env"
    return str(path) if len(path.parts) > 1 else f"./{path}"
