"""Commands around a model: train, export, eval, measure, complete."""

import sys
from contextlib import ExitStack
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repoloom.cli.choices import one_of
from repoloom.cli.output import Json, print_json, show_parameters
from repoloom.errors import InputError
from repoloom.inference.until import Until
from repoloom.text import visible
from repoloom.training.forms import Parallel

if TYPE_CHECKING:
    from repoloom.recipe.corpus import Corpus
    from repoloom.recipe.model import Recipe

_PANEL = "Model"
_LARGEST_SEED = (1 << 63) - 1
_RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file with a `train` section.")]
_Out = Annotated[str, typer.Option(metavar="URI", help="Where the model goes, s3://bucket/prefix or a folder.")]
_Store = Annotated[
    str | None,
    typer.Option(
        metavar="URI", help="Where the recipe's run has its packed tokens. [default: OUT]", show_default=False
    ),
]


def _show_train_parameters(wanted: bool) -> None:
    if wanted:
        from repoloom.training.config import ExtendParams, InstructParams, TrainParams

        show_parameters(TrainParams)
        for section, model in (("extend", ExtendParams), ("instruct", InstructParams)):
            typer.echo(f"\nOf the section `{section}`, if there is one:")
            show_parameters(model)
        raise typer.Exit


def _show_evaluate_parameters(wanted: bool) -> None:
    if wanted:
        from repoloom.recipe.model import EvaluateParams

        show_parameters(EvaluateParams)
        raise typer.Exit


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command(rich_help_panel=_PANEL)(train)
    app.command("eval", rich_help_panel=_PANEL)(evaluate)
    app.command(rich_help_panel=_PANEL)(export)
    app.command(rich_help_panel=_PANEL)(measure)
    app.command(rich_help_panel=_PANEL)(complete)


def train(
    recipe: _RecipeFile,
    out: _Out = "out",
    store: _Store = None,
    parallel: Annotated[
        Parallel, typer.Option(help="How the processes that torchrun starts share the work: a stage of ZeRO.")
    ] = Parallel.SINGLE,
    hang_seconds: Annotated[
        float, typer.Option(min=1, help="How long they wait for one another, as for a checkpoint; then all end.")
    ] = 1800,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Keep a copy at OUT/models/SHA256: a later training overwrites OUT/model."),
    ] = False,
    work: Annotated[str, typer.Option(help="What OUT/training-progress.json calls it, for whoever began it.")] = "",
    parameters: Annotated[  # noqa: ARG001 - its callback answers it
        bool,
        typer.Option(
            "--parameters",
            callback=_show_train_parameters,
            is_eager=True,
            help="List the parameters of a recipe's `train`, `extend` and `instruct` sections and their defaults.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a model on the packed tokens of a recipe's run, stage after stage, and export it to OUT/model.

    Stopped or killed at any moment, the same command goes on from the newest checkpoint.
    """
    from rich.console import Console

    from repoloom.cli.training import train_and_show
    from repoloom.recipe.hold import hold
    from repoloom.recipe.training_stages import stages_of
    from repoloom.training.parallel import open_plan

    checked = _with_training(recipe)
    with open_plan(parallel, hang_seconds) as plan, ExitStack() as held:
        console = Console(stderr=True, quiet=not plan.is_main)
        corpus = _corpus(store or out)
        stages = stages_of(checked, corpus, out)
        plan.on_main(lambda _: held.enter_context(hold(out)))
        trained = train_and_show(stages, corpus, out, plan, console, keep=keep, work=work)
    if as_json and plan.is_main:
        print_json(trained.model_dump())


def evaluate(
    recipe: _RecipeFile,
    out: _Out = "out",
    store: _Store = None,
    parameters: Annotated[  # noqa: ARG001 - its callback answers it
        bool,
        typer.Option(
            "--parameters",
            callback=_show_evaluate_parameters,
            is_eager=True,
            help="List the parameters of a recipe's `evaluate` section and their defaults.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure the model of `repoloom train` beside an untrained one, and keep the result in OUT/evaluation.json."""
    from rich.console import Console

    from repoloom.cli.training import evaluate_and_watch, show_evaluation
    from repoloom.recipe.hold import hold
    from repoloom.recipe.model_path import trained_at

    checked = _with_training(recipe)
    corpus = _corpus(store or out)
    with hold(out):
        evaluation = evaluate_and_watch(checked, trained_at(out, corpus), corpus, out, Console(stderr=True))
    if as_json:
        print_json(evaluation.model_dump(mode="json"))
    else:
        show_evaluation(evaluation, Console())


def export(
    recipe: _RecipeFile,
    to: Annotated[Path, typer.Option(help="A new or empty folder.")],
    out: _Out = "out",
    store: _Store = None,
    dtype: Annotated[
        str, typer.Option(help="Numbers of the weights.", **one_of(("float32", "bfloat16", "float16")))
    ] = "float32",
) -> None:
    """Export the newest checkpoint of a training, finished or not, to a folder that plain `transformers` opens."""
    import torch

    from repoloom.recipe.model_path import export_checkpoint
    from repoloom.recipe.training_stages import stages_of

    corpus = _corpus(store or out)
    stages = stages_of(_with_training(recipe), corpus, out)
    stage, step = export_checkpoint(stages, corpus, out, to, getattr(torch, dtype))
    typer.echo(f"{to}  ({stage}, step {step})")


def measure(
    model: Annotated[Path, typer.Option(help="An exported model.")],
    run: Annotated[str | None, typer.Option(help="Measure on this run's held-out repositories.")] = None,
    infilling: Annotated[
        Path | None, typer.Option(help="Or on a HumanEval single-line infilling file (.jsonl, .jsonl.gz).")
    ] = None,
    holes: Annotated[int, typer.Option(min=1, help="Holes to fill.")] = 200,
    max_bytes: Annotated[int, typer.Option(min=1, help="Held-out files to measure, in bytes.")] = 4 << 20,
    seed: Annotated[
        int,
        typer.Option(
            min=0,
            max=_LARGEST_SEED,
            help="Draws files and holes, and initialises the untrained model as a training of that seed begins.",
        ),
    ] = 0,
    as_json: Json = False,
) -> None:
    """Measure any exported model beside an untrained one, on what you name; nothing is kept of it."""
    from rich.console import Console

    from repoloom.cli.training import EvaluationView, show_evaluation, stoppable
    from repoloom.evaluation.compare import compare, untrained
    from repoloom.evaluation.held_out import HeldOutFile, draw_holes
    from repoloom.evaluation.humaneval import read_single_line_infilling
    from repoloom.inference.complete import Completer

    if (run is None) == (infilling is None):
        raise InputError("give either --run or --infilling")
    completer = Completer.load(model)
    files: list[HeldOutFile] = []
    if run is not None:
        files = _corpus(run).held_out_files(max_bytes, seed)
        chosen = draw_holes(files, holes, seed)
    else:
        assert infilling is not None
        chosen = list(read_single_line_infilling(infilling))[:holes]
    console = Console(stderr=True)
    kept = "nothing is kept of it; the same command begins it anew"
    with stoppable("the evaluation", kept, console), EvaluationView(console) as view:
        evaluation = compare(completer, untrained(completer, seed), files, chosen, view.status)
    if as_json:
        print_json(evaluation.model_dump(mode="json"))
    else:
        show_evaluation(evaluation, Console())


def complete(
    model: Annotated[Path, typer.Option(help="An exported model.")],
    prefix_file: Annotated[
        Path, typer.Option(help="What stands before the hole; - for standard input.", allow_dash=True)
    ],
    suffix_file: Annotated[Path | None, typer.Option(help="What stands after it; nothing if absent.")] = None,
    until: Annotated[
        Until, typer.Option(help="Where to end: with the line, or where the model does.", **one_of(Until))
    ] = Until.LINE,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens to write at most.")] = 64,
    temperature: Annotated[float, typer.Option(min=0, help="0: always the likeliest token.")] = 0.0,
    top_p: Annotated[
        float, typer.Option(min=0, max=1, help="Sample from the likeliest tokens of this total probability.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, max=_LARGEST_SEED, help="Of the samples.")] = 0,
    as_json: Json = False,
) -> None:
    """Fill the hole between a prefix and a suffix."""
    from repoloom.inference.complete import Completer
    from repoloom.inference.generate import Sampling

    if not 0 < top_p <= 1:
        raise InputError(f"--top-p {top_p:g}: give more than 0 and at most 1")
    if not isfinite(temperature):
        raise InputError(f"--temperature {temperature:g}: give a finite number")
    prefix = _text(prefix_file)
    suffix = _text(suffix_file) if suffix_file else ""
    sampling = Sampling(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed)
    middle = Completer.load(model).complete(prefix, suffix, until, sampling)
    if as_json:
        print_json({"middle": middle})
    else:
        typer.echo(visible(middle) if sys.stdout.isatty() else middle)


def _with_training(recipe: Path) -> "Recipe":
    """A recipe that has a `train` section. Raises InputError where it has none."""
    from repoloom.recipe.model import Recipe

    checked = Recipe.load(recipe)
    if checked.train is None:
        raise InputError(f"{recipe} has no `train` section")
    return checked


def _corpus(run: str) -> "Corpus":
    """What the run at an address made for training and evaluation."""
    from repoloom.recipe.corpus import Corpus
    from repoloom.recipe.run import datasets_at

    return Corpus.of({dataset.manifest.step: dataset for dataset in datasets_at(run)})


def _text(path: Path) -> str:
    try:
        content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return content.decode()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: {error}") from None
