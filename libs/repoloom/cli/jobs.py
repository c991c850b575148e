"""`repoloom jobs`: batch jobs of the services, listed, started, watched and cancelled."""

import itertools
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repoloom.cli.choices import one_of, silent
from repoloom.cli.output import QUARANTINED, STOPPED, Json, print_json, safe
from repoloom.cli.stages import STAGES
from repoloom.cli.up import FOLDER
from repoloom.errors import InputError, NotFoundError, RepoloomError, UnavailableError

if TYPE_CHECKING:
    from repoloom.cli.job_row import JobLine
    from repoloom.client import Operation
    from repoloom.client.service import ServiceClient
    from repoloom.rpc.settings import ChannelSettings

app = typer.Typer(
    help="Jobs of the services: `jobs` lists them; `jobs start`, `jobs watch` and `jobs cancel` do what they say.",
    invoke_without_command=True,
    rich_markup_mode="markdown",
)

Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="HOST:PORT",
        help="A service; repeat for more.  [default: those of REPOLOOM_SERVICES, else of `repoloom up` in FOLDER]",
    ),
]
FolderOption = Annotated[Path, typer.Option("--folder", help="Folder of the stack that `repoloom up` runs.")]
_LIMIT = 20
_PIPED = 1000  # columns, where nobody's screen has an edge: names are there to be copied
_EVERY = 1.0  # seconds
_TAB_SECONDS = 1.0  # that the shell waits for names


def _names(context: typer.Context) -> list[str]:
    """The newest jobs of services that answer at once, for the shell."""
    from concurrent.futures import ThreadPoolExecutor

    from repoloom.up.find import services_at, words
    from repoloom.up.surroundings import surroundings

    def found(word: str) -> "dict[str, ChannelSettings]":
        with silent():
            return services_at(word, environment, _TAB_SECONDS)
        return {}

    def newest(name: str) -> list[str]:
        from repoloom.cli.job_row import JobRow

        quick = services[name].model_copy(update={"call_seconds": _TAB_SECONDS})
        with silent(), _client({name: quick}, name) as client:
            return [JobRow.of(operation).short for operation in itertools.islice(client.operations(), _LIMIT)]
        return []

    with silent(), ThreadPoolExecutor() as threads:
        environment = surroundings(context.params.get("folder") or FOLDER, os.environ)
        said = words(context.params.get("targets") or (), environment)
        services = {name: settings for some in threads.map(found, said) for name, settings in some.items()}
        return [name for names in threads.map(newest, services) for name in names]
    return []


Name = Annotated[str, typer.Argument(help="As the list has it, such as filter/1a2b3c4d.", autocompletion=_names)]


class JobFailedError(RepoloomError):
    """A job failed, for whatever reason: who watched it did nothing wrong."""


@app.callback()
def _default(
    context: typer.Context, targets: Targets = None, folder: FolderOption = FOLDER, as_json: Json = False
) -> None:
    if context.invoked_subcommand is None:
        list_jobs(targets, folder, _LIMIT, as_json)


@app.command("list")
def list_jobs(
    targets: Targets = None,
    folder: FolderOption = FOLDER,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many of each service.")] = _LIMIT,
    as_json: Json = False,
) -> None:
    """List the newest jobs: where they stand, how fast they get on, how long they will take."""
    from rich.console import Console

    from repoloom.cli.job_row import JobRow, table_of

    rows = []
    failed: list[RepoloomError] = []
    problems: list[str] = []
    services = _find(targets, folder)
    for name in services:
        try:
            with _client(services, name) as client:
                rows += [JobRow.of(operation) for operation in itertools.islice(client.operations(), limit)]
        except RepoloomError as error:
            failed.append(error)
            problems.append(f"{name}: {error}")
    if failed and len(failed) == len(services):
        wrong = all(isinstance(error, InputError) for error in failed)  # what was given, such as the token's file
        raise failed[0] if wrong else UnavailableError("; ".join(problems))
    rows.sort(key=lambda row: row.created, reverse=True)
    if as_json:
        print_json([row.model_dump(mode="json") for row in rows])
    elif rows:
        Console(width=None if sys.stdout.isatty() else _PIPED).print(table_of(rows))
    elif not problems:
        typer.echo("There are no jobs. `repoloom jobs start STAGE --input URI --output URI` starts one.")
    for problem in problems:
        Console(stderr=True, soft_wrap=True).print("[bold yellow]warning:[/]", safe(problem), highlight=False)


@app.command()
def start(
    stage: Annotated[
        str,
        typer.Argument(help=f"A stage of the data path: {', '.join(STAGES)}.", **one_of(STAGES, "STAGE")),
    ],
    output: Annotated[str, typer.Option(help="Where its datasets go, below the root of the services.")],
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="URI", help="A dataset or run that it reads; repeat for more."),
    ] = None,
    parameters: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="YAML: the stage's section of a recipe.  [default: the paper's]"
        ),
    ] = None,
    targets: Targets = None,
    folder: FolderOption = FOLDER,
    as_json: Json = False,
) -> None:
    """Start a stage over datasets. It goes on when this command has ended; `jobs watch` follows it."""
    from repoloom.cli.job_row import JobRow
    from repoloom.recipe.model import read_section
    from repoloom.rpc import catalog

    given = read_section(parameters, stage) if parameters else {}
    name = next(name for name, stages in catalog.STAGES.items() if stage in stages)
    with _client(_find(targets, folder), name) as client:
        operation = client.start(inputs=inputs or (), output=output, parameters=given, stage=stage)
    row = JobRow.of(operation)
    if as_json:
        print_json(row.model_dump(mode="json"))
    else:
        typer.echo(f"started {row.short}; `repoloom jobs watch {row.short}` follows it")


@app.command()
def watch(name: Name, targets: Targets = None, folder: FolderOption = FOLDER, as_json: Json = False) -> None:
    """Follow a job to its end.

    Exit codes: 0 it is done; 1 it failed; 3 it is done, but some tasks are quarantined; 130 it was cancelled, or
    watching was stopped with Ctrl-C, which the job does not mind.
    """
    from rich.console import Console

    from repoloom.cli.job_row import JobLine

    with _job(name, targets, folder) as operation:
        with JobLine(Console(stderr=True)) as line:
            try:
                _follow(operation, line)
            except KeyboardInterrupt:
                line.console.print(f"the job goes on; `repoloom jobs watch {name}` follows it again", highlight=False)
                raise typer.Exit(STOPPED) from None
        _tell_end(operation, as_json)


@app.command()
def cancel(name: Name, targets: Targets = None, folder: FolderOption = FOLDER, as_json: Json = False) -> None:
    """Stop a job, and wait until it has stopped. What it committed is kept; the same job started anew uses it."""
    from rich.console import Console

    from repoloom.cli.job_row import JobLine, JobRow

    with _job(name, targets, folder) as operation:
        operation.cancel()
        with JobLine(Console(stderr=True)) as line:
            _follow(operation, line)
        row = JobRow.of(operation)
        if as_json:
            print_json(row.model_dump(mode="json"))
        else:
            typer.echo(f"{row.short} {'was cancelled' if row.state == 'cancelled' else f'had ended: {row.state}'}")


def _follow(operation: "Operation", line: "JobLine") -> None:
    """Waits for the end, whatever it is."""
    from repoloom.cli.job_row import JobRow

    line.show(JobRow.of(operation))
    try:
        operation.wait(lambda _: line.show(JobRow.of(operation)), _EVERY)
    except RepoloomError:
        if not operation.done:  # it is not the job that failed
            raise


def _tell_end(operation: "Operation", as_json: bool) -> None:
    """Says how a job ended, also by the exit code. Raises JobFailedError."""
    from repoloom.cli.job_row import JobRow

    row = JobRow.of(operation)
    if as_json:
        print_json(row.model_dump(mode="json"))
    if row.state == "cancelled":
        if not as_json:
            typer.echo(f"{row.short} was cancelled; what it committed is kept")
        raise typer.Exit(STOPPED)
    try:
        result = operation.result
    except RepoloomError as error:
        raise JobFailedError(str(error)) from error
    if not as_json:
        for dataset in result.datasets:
            typer.echo(f"{dataset.step:<22} {dataset.digest}  {dataset.uri}")
    if row.quarantined:
        raise typer.Exit(QUARANTINED)


def _find(targets: list[str] | None, folder: Path) -> "dict[str, ChannelSettings]":
    from repoloom.up.find import find_services
    from repoloom.up.surroundings import surroundings

    return find_services(targets or (), surroundings(folder, os.environ))


def _client(services: "Mapping[str, ChannelSettings]", name: str) -> "ServiceClient":
    from repoloom.client import CLIENTS

    if name not in services:
        raise InputError(f"{name} is not among the services known here: {', '.join(services)}; give its --target")
    return CLIENTS[name](services[name])


@contextmanager
def _job(name: str, targets: list[str] | None, folder: Path) -> "Iterator[Operation]":
    """The job that a name, or the beginning of one, stands for. Raises InputError, NotFoundError."""
    services = _find(targets, folder)
    service, _, identity = name.removeprefix("operations/").rpartition("/")
    if not identity or (not service and len(services) > 1):
        raise InputError(f"{name!r} is no name of a job; `repoloom jobs` lists them, such as filter/1a2b3c4d")
    service = service or next(iter(services))
    with _client(services, service) as client:
        whole = f"operations/{service}/{identity}"
        found = [whole] if len(identity) == 32 else [o.name for o in client.operations() if o.name.startswith(whole)]
        if not found:
            raise NotFoundError(f"there is no job {name}; `repoloom jobs` lists them")
        if len(found) > 1:
            raise InputError(f"{name} may be any of {len(found)} jobs; give more of its name, such as {found[0]}")
        yield client.operation(found[0])
