"""`repoloom run` and `repoloom report`: the whole recipe, and the page that tells what it did."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repoloom.cli.output import CORES, QUARANTINED, Json, Workers, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from repoloom.corpus.dataset import Dataset

_PANEL = "Whole path"


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command(rich_help_panel=_PANEL)(run)
    app.command(rich_help_panel=_PANEL)(report)


def run(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file; see pipelines/recipes/.")],
    out: Annotated[
        str, typer.Option(help="Where everything goes. The same address again goes on where a run was stopped.")
    ] = "out",
    workers: Workers = CORES,
    until: Annotated[str | None, typer.Option(metavar="STAGE", help="Stop after this stage of the data path.")] = None,
    as_json: Json = False,
) -> None:
    """Run a recipe: data path, tokenizer, training, evaluation, export, report.

    Stopped or killed at any moment, the same command goes on: what is committed is never done again.
    """
    from rich.console import Console

    from repoloom.cli.progress import RunView
    from repoloom.engine.pool import LocalPool
    from repoloom.recipe.model import Recipe
    from repoloom.recipe.run import Watcher, run_data_path
    from repoloom.store import open_store

    checked = Recipe.load(recipe)
    console = Console(stderr=True)
    console.print(f"[bold]{checked.name}[/] → {out}", highlight=False)
    with RunView(console) as view, LocalPool(workers, checked.limits) as pool:
        datasets = run_data_path(checked, out, pool, until, Watcher(view.status, view.made))
    final = list(datasets.values())[-1]
    if until is None and checked.train is not None:
        from repoloom.cli.training import finish

        finish(checked, datasets, Path(open_store(out).uri), console)
    from repoloom.recipe.finish import write_run_report

    page = write_run_report(list(datasets.values()), out)
    console.print(f"report  {page}\ndigest  {final.digest}", highlight=False)
    if as_json:
        print_json(
            {"out": out, "digest": final.digest, "report": page, "steps": {s: d.digest for s, d in datasets.items()}}
        )
    _exit_if_quarantined(list(datasets.values()), console)


def report(
    uri: Annotated[str, typer.Argument(help="Address of a run.")] = "out",
    as_json: Json = False,
) -> None:
    """Write the HTML report of a run, and say where it is."""
    from repoloom.recipe.finish import write_run_report
    from repoloom.recipe.run import datasets_at

    page = write_run_report(datasets_at(uri), uri)
    if as_json:
        print_json({"report": page})
    else:
        typer.echo(page)


def _exit_if_quarantined(datasets: "list[Dataset]", console: "Console") -> None:
    """A source that could not be reached is no failure of the run's own; everything else that was given up is."""
    given_up = [
        (dataset.manifest.step, failure)
        for dataset in datasets
        for failure in dataset.manifest.quarantined
        if failure.kind != "unavailable"
    ]
    if given_up:
        for step, failure in given_up:
            console.print(f"[yellow]quarantined[/] {step} {failure.kind} at {failure.at or 'start'}", highlight=False)
        console.print("The rest is done. `repoloom retry` and running again tries these anew.", highlight=False)
        raise typer.Exit(QUARANTINED)
