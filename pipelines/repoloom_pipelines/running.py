"""Compiling a pipeline, running it here, and handing it to a Kubeflow that runs."""

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import kfp
import urllib3
from kfp import compiler, local
from kfp_server_api import ApiException

from repoloom.corpus.manifest import canonical_json
from repoloom.errors import RefusedError, RepoloomError, UnavailableError
from repoloom.recipe.model import Recipe
from repoloom_pipelines import components
from repoloom_pipelines.pipelines import Name, pipeline
from repoloom_pipelines.settings import Settings

Arguments: TypeAlias = Mapping[str, str | int]


class TaskFailedError(RepoloomError):
    """A task of a pipeline that ran here failed; what it said stands above."""


def arguments(name: Name, recipe: Recipe, store: str, workers: int) -> dict[str, str | int]:
    """What a pipeline is given. The recipe has all its defaults, so that a run shows every parameter."""
    given: dict[str, str | int] = {"recipe": canonical_json(recipe.model_dump()).decode(), "store": store}
    return {**given, "workers": workers} if name in (Name.CORPUS, Name.WHOLE) else given


def compile_to(name: Name, settings: Settings, path: Path) -> None:
    """Writes a pipeline as the YAML that Kubeflow takes."""
    compiler.Compiler().compile(pipeline(name, settings), str(path))


def run_here(name: Name, settings: Settings, given: Arguments, root: Path) -> None:
    """Runs a pipeline task by task in processes of this machine, its artifacts below `root`. Raises TaskFailedError.

    kfp.local leaves the exit handler out where a task failed; then it runs by itself.
    """
    with contextlib.redirect_stdout(sys.stderr), _scratch():  # kfp prints to stdout what the tasks say
        try:
            _begin(root)
            pipeline(name, settings)(**given)
        except RuntimeError as error:  # kfp has no other for it
            with contextlib.suppress(RuntimeError):  # of a run that has made nothing that could be told
                _begin(root)
                components.report(recipe=given["recipe"], store=given["store"])
            raise TaskFailedError(str(error)) from None


@contextlib.contextmanager
def _scratch() -> Iterator[None]:
    """Removes in the end what kfp leaves where temporary files go: the code of each task, and a folder for the run."""
    former = os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(prefix="repoloom-pipeline-") as folder:
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = None
            if former is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = former


def submit(
    name: Name,
    settings: Settings,
    given: Arguments,
    *,
    host: str,
    experiment: str,
    run: str,
    namespace: str | None,
    token: str | None,
) -> str:
    """Starts a run on the Kubeflow Pipelines at an address; returns the run's address there.

    Raises UnavailableError where it does not answer, RefusedError where it does not take the run.
    """
    with tempfile.TemporaryDirectory(prefix="repoloom-pipeline-") as folder:
        package = Path(folder, f"{name}.yaml")
        compile_to(name, settings, package)
        try:
            with contextlib.redirect_stdout(sys.stderr):  # kfp prints links
                client = kfp.Client(host=host, namespace=namespace or "kubeflow", existing_token=token)
                started = client.create_run_from_pipeline_package(
                    str(package), dict(given), run_name=run, experiment_name=experiment, namespace=namespace
                )
        except ApiException as error:
            raise RefusedError(f"{host} answers {error.status} {error.reason}: {error.body}") from error
        except urllib3.exceptions.HTTPError as error:
            raise UnavailableError(f"{host} does not answer: {error}") from error
    return f"{host.rstrip('/')}/#/runs/details/{started.run_id}"


def _begin(root: Path) -> None:
    warnings.filterwarnings("ignore", "You may be attemping to run a task that uses custom", RuntimeWarning)
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(root))
