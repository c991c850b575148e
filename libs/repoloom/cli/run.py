"""`repoloom run` and `repoloom report`: the whole recipe, and the page that tells what it did."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repoloom.cli.choices import one_of
from repoloom.cli.engine import Engine, EngineOption, check_files, open_pool
from repoloom.cli.extras import require
from repoloom.cli.output import CORES, QUARANTINED, STOPPED, Json, Workers, print_json, safe
from repoloom.cli.stages import STAGES

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
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URI", help="Where datasets go, s3://bucket/prefix or a folder. [default: OUT]", show_default=False
        ),
    ] = None,
    engine: EngineOption = Engine.LOCAL,
    workers: Workers = CORES,
    until: Annotated[
        str | None,
        typer.Option(help=f"Stop after this stage of the data path: {', '.join(STAGES)}.", **one_of(STAGES, "STAGE")),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a recipe: data path, tokenizer, training, evaluation, export, report.

    Stopped or killed at any moment, the same command goes on: what is committed is never done again. While it runs, a
    second run into the same folder is refused; on S3 that is left to you.
    """
    from rich.console import Console
    from rich.text import Text

    from repoloom.cli.progress import RunView, both
    from repoloom.processes import interrupted_by_sigterm
    from repoloom.recipe.finish import write_run_report
    from repoloom.recipe.hold import hold
    from repoloom.recipe.model import Recipe
    from repoloom.recipe.paths import pin_conversations
    from repoloom.recipe.progress import told
    from repoloom.recipe.run import Watcher, run_data_path, stages_until
    from repoloom.store import open_store

    checked = Recipe.load(recipe)
    stages = stages_until(until)
    for stage in stages:
        check_files(engine, stage, checked.section(stage), checked.where)
    trains = until is None and checked.train is not None
    if trains:
        require("torch")
        if checked.instruct:
            pin_conversations(checked.instruct, checked.where)
    console = Console(stderr=True)
    console.print(Text.assemble(safe(checked.name, "bold"), safe(f" → {out}")))
    with hold(out, store or out):
        try:
            with (
                interrupted_by_sigterm(),
                told(store or out, checked.model_dump(), stages) as telling,
                RunView(console) as view,
                open_pool(engine, workers, checked.limits) as pool,
            ):
                watcher = Watcher(both(view.status, telling.status), both(view.made, telling.made))
                datasets = run_data_path(checked, store or out, pool, until, watcher, out)
        except KeyboardInterrupt:
            console.print("stopped; the same command goes on, what is committed is kept", highlight=False)
            raise typer.Exit(STOPPED) from None
        final = list(datasets.values())[-1]
        try:
            if trains:
                from repoloom.cli.training import finish

                finish(checked, datasets, open_store(out).uri, console)
        finally:  # what the data path made is told however the model path ends
            page = write_run_report(checked.name, list(datasets.values()), out)
            console.print(safe(f"report  {page}"))
            console.print(f"digest  {final.digest}", highlight=False)
            if emptied := _emptied(list(datasets.values())):
                console.print(Text.assemble(("empty", "yellow"), f"   {emptied} left nothing; the report shows why"))
            given_up = _show_quarantined(list(datasets.values()), console)
    if as_json:
        print_json(
            {
                "out": out,
                "store": store or out,
                "digest": final.digest,
                "report": page,
                "steps": {s: d.digest for s, d in datasets.items()},
            }
        )
    if given_up:
        raise typer.Exit(QUARANTINED)


def report(
    uri: Annotated[str, typer.Argument(help="Address of a run.")] = "out",
    as_json: Json = False,
) -> None:
    """Write the HTML report of a run, and say where it is."""
    from repoloom.recipe.finish import write_run_report
    from repoloom.recipe.run import RunRecord, datasets_at

    page = write_run_report(str(RunRecord.read(uri).recipe["name"]), datasets_at(uri), uri)
    if as_json:
        print_json({"report": page})
    else:
        typer.echo(page)


def _emptied(datasets: "list[Dataset]") -> str | None:
    """The step after which nothing was left; not every step keeps a ledger."""
    counted = [dataset.manifest for dataset in datasets if dataset.manifest.ledger.entering.items]
    if not counted:
        return "crawl"
    return None if counted[-1].ledger.total_kept.items else counted[-1].step


def _show_quarantined(datasets: "list[Dataset]", console: "Console") -> bool:
    """Whether anything was given up; a source that could not be reached is no failure of the run's own."""
    from rich.text import Text

    given_up = [
        (dataset.manifest.step, failure)
        for dataset in datasets
        for failure in dataset.manifest.quarantined
        if failure.kind != "unavailable"
    ]
    if given_up:
        for step, failure in given_up:
            console.print(
                Text.assemble(("quarantined", "yellow"), safe(f" {step} {failure.kind} at {failure.at or 'start'}"))
            )
        console.print(
            "The rest is done. `repoloom retry` and running again tries these anew; "
            "for a local source that was mended, running again is enough.",
            highlight=False,
            soft_wrap=True,
        )
    return bool(given_up)
