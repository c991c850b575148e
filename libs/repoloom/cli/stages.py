"""One command for each stage of the data path, over datasets that are there already."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repoloom.cli.engine import Engine, EngineOption, check_files, open_pool
from repoloom.cli.output import CORES, QUARANTINED, Json, Workers, print_json, show_parameters
from repoloom.errors import InputError

if TYPE_CHECKING:
    from repoloom.recipe.model import Recipe
    from repoloom.recipe.paths import Where

STAGES = {
    "crawl": "Reads repositories from registries, git, archives, folders and row files into a files table.",
    "filter": "Applies the paper's rules to files: length of lines, alphabetic share, generated, minified, vendored.",
    "order": "Orders each repository's files by their imports and joins them into documents.",
    "dedup": "Removes near-duplicate repositories by MinHash LSH, with evidence.",
    "quality": "Drops files that do not parse or score low.",
    "decontaminate": "Drops files that share n-grams with benchmarks.",
    "split": "Holds repositories out for evaluation.",
    "tokenize": "Trains the tokenizer and cuts documents into pieces of token ids, half of them with a hole.",
    "mix": "Chooses how much of each domain is taken, by tokens.",
    "pack": "Lays pieces into fixed-length training sequences.",
}
"""The stages in the order they run, and what each does."""


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    for stage, summary in STAGES.items():
        app.command(stage, help=summary, rich_help_panel="Stages")(_command(stage))


def _command(stage: str) -> Callable[..., None]:
    def command(
        inputs: Annotated[
            list[str] | None,
            typer.Argument(help="Addresses of runs or datasets that hold the tables it reads.", show_default=False),
        ] = None,
        out: Annotated[str, typer.Option(help="Where the new datasets go: OUT/<step>.")] = "out",
        settings: Annotated[
            list[str] | None,
            typer.Option("--set", metavar="KEY=VALUE", help="A parameter (value in YAML); repeat for more."),
        ] = None,
        recipe: Annotated[
            Path | None, typer.Option(help="Take the stage's parameters, `engine` and `limits` from this recipe.")
        ] = None,
        parameters: Annotated[
            bool, typer.Option("--parameters", help="List the parameters and their defaults.")
        ] = False,
        engine: EngineOption = Engine.LOCAL,
        workers: Workers = CORES,
        as_json: Json = False,
    ) -> None:
        if parameters:
            from repoloom.recipe.sections import section

            show_parameters(section(stage))
            return
        _run(stage, inputs or [], out, settings or [], recipe, engine, workers, as_json)

    return command


def _places(recipe: "Recipe | None", settings: list[str]) -> "Where":
    """Where a key of a stage was given: with --set, else in the recipe."""
    given = {setting.partition("=")[0] for setting in settings}

    def where(location: Sequence[str | int]) -> str:
        if recipe is None or location[1] in given:
            return f"--set {'.'.join(map(str, location[1:]))}"
        return recipe.where(location)

    return where


def _values(stage: str, values: dict[str, Any], settings: list[str], where: "Where") -> dict[str, Any]:
    from pydantic import ValidationError

    from repoloom.recipe.model import explain, read_yaml
    from repoloom.recipe.sections import section

    for setting in settings:
        key, separator, value = setting.partition("=")
        if not separator:
            raise InputError(f"--set {setting}: write KEY=VALUE")
        _, values[key] = read_yaml(value, f"--set {key}")
    try:
        model = section(stage).model_validate(values)
    except ValidationError as error:
        said = "\n".join(explain(error, section(stage), lambda at: where((stage, *at))))
        raise InputError(f"{said}; see `repoloom {stage} --parameters`") from None
    return {name: getattr(model, name) for name in type(model).model_fields}


def _run(
    stage: str,
    inputs: list[str],
    out: str,
    settings: list[str],
    recipe: Path | None,
    engine: Engine,
    workers: int,
    as_json: bool,
) -> None:
    from rich.console import Console

    from repoloom.cli.progress import RunView
    from repoloom.engine.pool import Limits
    from repoloom.engine.reconcile import Policy
    from repoloom.recipe.hold import hold
    from repoloom.recipe.model import Recipe
    from repoloom.recipe.run import run_stage, tables_at

    given = Recipe.load(recipe) if recipe else None
    where = _places(given, settings)
    values = _values(stage, given.section(stage) if given else {}, settings, where)
    check_files(engine, stage, values, where)
    policy, limits = (given.engine, given.limits) if given else (Policy(), Limits())
    tables = tables_at(inputs)
    made = []
    with hold(out), RunView(Console(stderr=True)) as view, open_pool(engine, workers, limits) as pool:
        for dataset in run_stage(stage, values, tables, out, pool, policy, view.status):
            view.made(dataset)
            made.append(dataset)
    if as_json:
        print_json([{"step": dataset.manifest.step, "uri": dataset.uri, "digest": dataset.digest} for dataset in made])
    else:
        for dataset in made:
            typer.echo(f"{dataset.digest}  {dataset.uri}")
    if any(failure.kind != "unavailable" for dataset in made for failure in dataset.manifest.quarantined):
        raise typer.Exit(QUARANTINED)
