"""What a request comes to: checked parameters, tables and limits, or an error that names the field.

It is asked when a job is started, and again when it is run, since links and datasets may have changed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError, create_model

from repoloom.corpus.dataset import MANIFEST
from repoloom.corpus.manifest import Record
from repoloom.engine.plan import Table
from repoloom.engine.pool import Limits
from repoloom.engine.reconcile import Policy
from repoloom.engine.step import Params
from repoloom.errors import ForbiddenError, InputError, NotFoundError
from repoloom.jobs.addresses import contains, within
from repoloom.jobs.records import JobRequest
from repoloom.jobs.settings import JobSettings
from repoloom.recipe.model import dotted, explain
from repoloom.recipe.run import RUN, RunRecord, dataset_uris_at, tables_at
from repoloom.recipe.sections import section, steps
from repoloom.store import open_store

R = TypeVar("R", bound=Record)
_SAID = 8  # wrong fields, of however many


@dataclass(frozen=True)
class Work:
    """What `run_stage` is given."""

    stage: str
    values: Mapping[str, Any]
    tables: dict[str, Table]
    out: str
    policy: Policy
    limits: Limits


def admit(request: JobRequest, stages: Sequence[str], settings: JobSettings) -> Work:
    """What is to be run. Raises InputError, NotFoundError, ForbiddenError; CorruptDataError for what an input holds."""
    if request.stage not in stages:
        raise InputError(f"stage: there is no stage {request.stage!r} here; there is: {', '.join(stages)}")
    root = open_store(settings.root).uri
    out = within(root, request.output, "output")
    inputs = [within(root, uri, f"inputs.{number}") for number, uri in enumerate(request.inputs)]
    values = _parameters(request, settings)
    policy = _model(Policy, "engine", request.engine)
    limits = _model(Limits, "limits", request.limits)
    if limits.seconds > settings.task_seconds or limits.memory_bytes > settings.task_memory_bytes:
        most = f"{settings.task_seconds:g} seconds and {settings.task_memory_bytes} memory_bytes"
        raise InputError(f"limits: this service allows at most {most}")
    for number, uri in enumerate(inputs):
        _check_input(root, uri, f"inputs.{number}")
    tables = tables_at(inputs)
    _check_tables(request.stage, tables, out)
    return Work(request.stage, values, tables, out, policy, limits)


def _parameters(request: JobRequest, settings: JobSettings) -> dict[str, Any]:
    """The parameters through the stage's section, with the files that they name checked."""
    model = create_model("Request", __base__=Params, parameters=(section(request.stage), ...))
    checked = _validate(model, {"parameters": request.parameters}).parameters  # type: ignore[attr-defined]
    values = {name: getattr(checked, name) for name in type(checked).model_fields}
    if settings.local_files:
        return values
    for number, source in enumerate(values.get("sources", ())):
        if getattr(source, "path", None) is not None:
            raise ForbiddenError(f"parameters.sources.{number}.path: this service reads no files of its own machine")
    if "benchmarks" in values:
        values["benchmarks"] = tuple(
            source.model_copy(update={"path": _benchmark(source.path, number, settings)})
            for number, source in enumerate(values["benchmarks"])
        )
    return values


def _benchmark(path: str, number: int, settings: JobSettings) -> str:
    """The file of the benchmarks folder that a path, relative to it, names."""
    field = f"parameters.benchmarks.{number}.path"
    if settings.benchmarks is None:
        raise ForbiddenError(f"{field}: this service has no folder of benchmarks")
    folder = Path(settings.benchmarks).absolute()
    if not path or "\0" in path or Path(path).is_absolute() or not contains(folder, folder / path):
        raise ForbiddenError(f"{field}: {path!r} names no file of the benchmarks folder; give a path relative to it")
    if not (folder / path).is_file():
        raise NotFoundError(f"{field}: there is no {path!r} in the benchmarks folder")
    return str(folder / path)


def _check_input(root: str, uri: str, field: str) -> None:
    """A run's record names further addresses; each is checked before it is opened."""
    store = open_store(uri)
    if store.exists(MANIFEST):
        return
    if not store.exists(RUN):
        below = ", ".join(dataset_uris_at(uri))
        way_out = f"give what lies below it: {below}" if below else f"it has no {MANIFEST} and no {RUN}"
        raise NotFoundError(f"{field}: {uri!r} is neither a dataset nor a run; {way_out}")
    record = RunRecord.read(uri)
    for made in record.made:
        within(root, f"{record.store or uri}/{made.step}", field)


def _check_tables(stage: str, tables: Mapping[str, Table], out: str) -> None:
    """Each table that is read must be there, and must not lie where the stage's datasets go."""
    made: set[str] = set()
    for step in steps(stage):
        for name in (name for name in step.reads if name not in made):
            if name not in tables:
                given = ", ".join(sorted(tables)) or "none"
                raise InputError(f"inputs: {step.name} reads the table {name!r}; given were: {given}")
            if any(tables[name].dataset.uri == f"{out}/{other.name}" for other in steps(stage)):
                raise InputError(f"output: {tables[name].dataset.uri} is read, and would be replaced; give another")
        made.update(step.writes)


def _model(model: type[R], field: str, given: Record) -> R:
    """A record of which the request gives some fields; 0 stands for the default."""
    fields = {name: value for name, value in given.model_dump().items() if value}
    whole = create_model("Request", __base__=Params, **{field: (model, ...)})  # type: ignore[call-overload]
    checked: R = getattr(_validate(whole, {field: fields}), field)
    return checked


def _validate(model: type[Params], content: Mapping[str, Any]) -> Params:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise invalid(error, model) from error


def invalid(error: ValidationError, model: type[BaseModel]) -> InputError:
    """The error in the words in which those of recipes are said; never the value, which may be a secret."""
    said = list(islice(explain(error, model, dotted, got=lambda _: ""), _SAID))  # each costs a search
    more = [f"and {error.error_count() - _SAID} more"] if error.error_count() > _SAID else []
    return InputError("; ".join(said + more))
