"""Commands that look at datasets: verify, digest, inspect, edges, retry."""

from pathlib import Path
from typing import Annotated

import typer

from repoloom.cli.choices import silent
from repoloom.cli.output import Json, bytes_text, print_json
from repoloom.errors import InputError

_Uri = Annotated[str, typer.Argument(help="Address of a run or of a dataset.")]
_PANEL = "Datasets"


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (verify, digest, inspect, edges, retry):
        app.command(rich_help_panel=_PANEL)(command)


def verify(uri: _Uri, as_json: Json = False) -> None:
    """Recompute every digest and balance the ledger; name the first thing that does not hold."""
    from repoloom.recipe.run import verify as verify_all

    checked = verify_all(uri)
    if as_json:
        print_json(
            [
                {"uri": dataset.uri, "digest": dataset.digest, "quarantined": len(dataset.manifest.quarantined)}
                for dataset in checked
            ]
        )
        return
    for dataset in checked:
        tables = dataset.manifest.tables.values()
        size, lost = bytes_text(sum(table.bytes for table in tables)), len(dataset.manifest.quarantined)
        typer.echo(
            f"ok  {dataset.manifest.step:<24} {sum(table.parts for table in tables):>5} parts  {size:>9}"
            + (f"  {lost} quarantined" if lost else "")
        )


def digest(uri: _Uri, as_json: Json = False) -> None:
    """Print the digest of a dataset, or of the last dataset of a run."""
    from repoloom.recipe.run import datasets_at

    found = datasets_at(uri)
    if as_json:
        print_json({dataset.manifest.step: dataset.digest for dataset in found})
    else:
        typer.echo(found[-1].digest)


def _repositories(context: typer.Context) -> list[str]:
    """The names in the run that stands on the line before `--repo`, where the shell's word is that option's."""
    from repoloom.recipe.inspect import names_at

    with silent():
        return [name for uri in context.args[:1] for name in sorted(names_at(uri))]
    return []


def inspect(
    uri: _Uri,
    repo: Annotated[
        str | None, typer.Option(help="One repository, e.g. pypi/requests.", autocompletion=_repositories)
    ] = None,
    as_json: Json = False,
) -> None:
    """List the repositories; or show of one its documents, their files in order and why, what was dropped and why.

    What is quarantined is listed too, with the reason: sources that could not be had, what a task failed at, and the
    other repositories that were lost with the task.
    """
    from repoloom.cli.repository import show_repositories, show_repository
    from repoloom.recipe.inspect import list_repositories, look_up

    if repo is None:
        repositories = list_repositories(uri)
        if as_json:
            print_json([listed.model_dump(mode="json") for listed in repositories])
        else:
            show_repositories(repositories)
        return
    repository = look_up(uri, repo)
    if as_json:
        print_json(repository.model_dump(mode="json"))
    else:
        show_repository(repository)


def edges(
    folder: Annotated[Path, typer.Argument(help="A folder with a repository's files.", exists=True, file_okay=False)],
) -> None:
    """Print the import edges of a folder's files as JSON lines: importer, imported, line, how."""
    import json

    from repoloom.stages.order.folder import edges_of_folder

    for edge in edges_of_folder(folder):
        typer.echo(
            json.dumps({"importer": edge.importer, "imported": edge.imported, "line": edge.line, "how": edge.how})
        )


def retry(uri: _Uri, as_json: Json = False) -> None:
    """Forget failures and the commits whose parts are corrupt, so that the next run does them again."""
    from repoloom.engine.retry import forget
    from repoloom.recipe.hold import hold_around
    from repoloom.recipe.run import dataset_uris_at

    found = dataset_uris_at(uri)
    if not found:
        raise InputError(f"{uri} holds neither a run nor a dataset")
    with hold_around(found[0]):
        forgotten = {name: forget(name) for name in found}
    if as_json:
        print_json({name: kept.model_dump() for name, kept in forgotten.items()})
        return
    for name, what in forgotten.items():
        if what.failures or what.corrupt:
            typer.echo(f"{name}: forgot {what.failures} failed tasks and {what.corrupt} corrupt ones")
    if not any(what.failures or what.corrupt for what in forgotten.values()):
        typer.echo("nothing to retry: no task failed and every part is as it was committed")
    else:
        typer.echo("run the recipe again: what is missing is done, what is committed is kept")
