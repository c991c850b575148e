"""`repoloom pipeline`: compile, run-local, submit. What a command needs, kfp most of all, loads when it runs."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repoloom.cli.output import CORES, QUARANTINED, Json, Workers, print_json

if TYPE_CHECKING:
    from repoloom_pipelines.pipelines import Name

_NAMES = "corpus, pretraining, fine-tuning, evaluation or whole"
_TOKEN = "REPOLOOM_KUBEFLOW_TOKEN"  # noqa: S105 - the name of it

_app = typer.Typer(no_args_is_help=True, help="Kubeflow pipelines: the same recipe, for those who live in its UI.")
_Recipe = Annotated[Path, typer.Argument(help="The recipe, a YAML file.")]
_Store = Annotated[str, typer.Option(metavar="URI", help="Where everything goes. Each recipe has its own.")]
_Pipeline = Annotated[str, typer.Option("--pipeline", help=f"{_NAMES[0].upper()}{_NAMES[1:]}.")]
_SettingsFile = Annotated[
    Path | None,
    typer.Option("--settings", help="Images, resources, nodes, secrets, retries of the pods, a YAML file."),
]


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(_app, name="pipeline", rich_help_panel="Kubernetes")


@_app.command("compile")
def compile_pipelines(
    out: Annotated[Path, typer.Option(help="The folder that the YAML files go to.")],
    settings: _SettingsFile = None,
) -> None:
    """Compile every pipeline for upload to Kubeflow."""
    from repoloom_pipelines.pipelines import Name
    from repoloom_pipelines.running import compile_to
    from repoloom_pipelines.settings import Settings

    looks = Settings.load(settings)
    out.mkdir(parents=True, exist_ok=True)
    for name in Name:
        compile_to(name, looks, out / f"{name}.yaml")
        typer.echo(out / f"{name}.yaml")


@_app.command()
def run_local(
    recipe: _Recipe,
    store: _Store,
    pipeline: _Pipeline = "whole",
    workers: Workers = CORES,
    settings: _SettingsFile = None,
    as_json: Json = False,
) -> None:
    """Run a pipeline on this machine, each task in a process of its own, with no cluster.

    Stopped or killed at any moment, the same command goes on.
    """
    from repoloom.recipe.model import Recipe
    from repoloom.recipe.run import datasets_at
    from repoloom_pipelines.running import arguments, run_here
    from repoloom_pipelines.settings import Settings

    name, checked = _name(pipeline), Recipe.load(recipe)
    with tempfile.TemporaryDirectory(prefix="repoloom-pipeline-") as root:
        run_here(name, Settings.load(settings), arguments(name, checked, store, workers), Path(root))
    datasets = datasets_at(store)
    if as_json:
        print_json({"store": store, "digest": datasets[-1].digest, "report": f"{store.rstrip('/')}/report.html"})
    else:
        typer.echo(f"{datasets[-1].digest}  {store}")
    if any(failure.kind != "unavailable" for dataset in datasets for failure in dataset.manifest.quarantined):
        raise typer.Exit(QUARANTINED)


@_app.command()
def submit(
    recipe: _Recipe,
    store: _Store,
    host: Annotated[str, typer.Option(help="Address of Kubeflow Pipelines.")],
    pipeline: _Pipeline = "whole",
    workers: Annotated[
        int, typer.Option(min=1, max=1024, help="Worker processes of a stage's pod; none of them where Redis is set.")
    ] = 2,
    settings: _SettingsFile = None,
    experiment: Annotated[str, typer.Option(help="The experiment that the run belongs to.")] = "repoloom",
    namespace: Annotated[str | None, typer.Option(help="The profile's namespace, where there are several.")] = None,
    as_json: Json = False,
) -> None:
    """Start a run on Kubeflow Pipelines.

    A token goes into REPOLOOM_KUBEFLOW_TOKEN.
    """
    from repoloom.errors import InputError
    from repoloom.recipe.model import Recipe
    from repoloom_pipelines.running import arguments
    from repoloom_pipelines.running import submit as submit_run
    from repoloom_pipelines.settings import Settings

    if "://" not in store and not store.startswith("/"):
        raise InputError(
            f"--store {store}: pods do not share this machine's folders; give s3://bucket/prefix, or a path below a "
            "volume that they mount"
        )
    name, checked = _name(pipeline), Recipe.load(recipe)
    url = submit_run(
        name,
        Settings.load(settings),
        arguments(name, checked, store, workers),
        host=host,
        experiment=experiment,
        run=f"{checked.name} {name}",
        namespace=namespace,
        token=os.environ.get(_TOKEN),
    )
    if as_json:
        print_json({"run": url})
    else:
        typer.echo(url)


def _name(given: str) -> "Name":
    from repoloom.errors import InputError
    from repoloom_pipelines.pipelines import Name

    try:
        return Name(given)
    except ValueError:
        raise InputError(f"--pipeline {given}: give {_NAMES}") from None
