"""The recipe: read from YAML, checked to the last key; errors say where, what is allowed, and what was meant."""

import contextlib
import functools
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError, ValidationInfo, create_model, field_validator

from repoloom.corpus.manifest import Record
from repoloom.engine.pool import Limits
from repoloom.engine.reconcile import Policy
from repoloom.engine.step import Params
from repoloom.errors import InputError
from repoloom.recipe.paths import Where
from repoloom.recipe.sections import DATA_PATH, SHARED, section
from repoloom.text import nearest, none_of
from repoloom.training.config import ExtendParams, InstructParams, TrainParams

M = TypeVar("M", bound=BaseModel)

_INTEGER = "tag:yaml.org,2002:int"
_QUOTED = re.compile(r"'([^']*)'")
_LARGEST_RECIPE = 16 << 20  # bytes
_LONGEST_NUMBER = 100  # characters of an integer; of 4300 digits Python writes none, and of 309 it makes no float


class EvaluateParams(Record):
    """What is measured on the held-out repositories."""

    holes: int = Field(default=200, ge=1, description="Single-line holes to fill.")
    max_bytes: int = Field(default=4 << 20, ge=1, description="Held-out files to measure, up to so many bytes.")
    seed: int = Field(default=0, ge=0, lt=1 << 63, description="Draws the files and the holes.")


class _Recipe(Record):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="A short name, for people.")
    seed: int = Field(default=0, ge=0, lt=1 << 63, description="For every stage that draws and has no seed of its own.")
    sequence_length: int = Field(default=4096, ge=16, le=1 << 16, description="Tokens of a training sequence.")
    min_repositories: int = Field(default=1, ge=1, description="The run stops if the crawl reached fewer.")
    engine: Policy = Policy()
    limits: Limits = Limits()
    train: TrainParams | None = Field(default=None, description="Absent: the run ends with packed tokens.")
    extend: ExtendParams | None = Field(default=None, description="Absent: the context stays as it was trained.")
    instruct: InstructParams | None = Field(default=None, description="Absent: the model completes, and answers not.")
    evaluate: EvaluateParams = EvaluateParams()

    @field_validator("extend", "instruct")
    @classmethod
    def _follows(
        cls, stage: ExtendParams | InstructParams | None, info: ValidationInfo
    ) -> ExtendParams | InstructParams | None:
        """A stage goes on from those before it, and reads no more at once than they made the model read."""
        before = info.data  # without what is wrong itself
        if stage is None or "train" not in before or (info.field_name == "instruct" and "extend" not in before):
            return stage
        train, extend = before["train"], before.get("extend")
        if train is None:
            raise ValueError("there is no `train` section that it could go on from")
        if isinstance(stage, ExtendParams) and stage.sequence_length < train.sequence_length:
            raise ValueError(f"sequence_length {stage.sequence_length} is less than that of `train`")
        reads = (extend or train).sequence_length
        if isinstance(stage, InstructParams) and (stage.sequence_length or 0) > reads:
            raise ValueError(f"sequence_length {stage.sequence_length} is more than the {reads} that the model reads")
        return stage


_OPTIONAL = ("train", "extend", "instruct")
"""Sections that are given nothing where they are not there."""


@functools.cache
def recipe_model() -> type[_Recipe]:
    """The model of a whole recipe, with a section for each stage."""
    sections: dict[str, Any] = {
        stage: (section(stage), Field(default_factory=section(stage)) if _has_defaults(section(stage)) else ...)
        for stage in DATA_PATH
    }
    validators: dict[str, Any] = {"known_domains": field_validator("mix")(_known_domains)}
    return create_model("Recipe", __base__=_Recipe, __validators__=validators, **sections)


def _known_domains(mix: Params, info: ValidationInfo) -> Params:
    """Refuses weights of domains that no file of this recipe may have: a misspelt one would drop its texts."""
    from repoloom.stages.filter.domain import PROSE_DOMAINS

    if (weights := mix.model_dump()["weights"]) and "crawl" in info.data:  # without what is wrong itself
        known = sorted({*PROSE_DOMAINS, *(source.domain for source in info.data["crawl"].sources)})
        for name in weights:
            if name not in known:
                raise ValueError(f"weights: {none_of(name, known)}")
    return mix


class _Loader(yaml.SafeLoader):
    """YAML without aliases, by which a few lines can say a billion things, and without endless numbers."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases are not allowed; write it out", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:  # noqa: ANN401
        if node.tag == _INTEGER and len(node.value) > _LONGEST_NUMBER:
            problem = f"a number of {len(node.value)} characters; at most {_LONGEST_NUMBER} are allowed"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return super().construct_scalar(node)


def read_yaml(text: str, name: str) -> tuple[yaml.Node | None, Any]:
    """A YAML document as its nodes and as its value. Raises InputError that begins with its name."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if repeated := [] if node is None else list(_repeated(node)):
            raise InputError("\n".join(f"{name}:{problem}" for problem in repeated))
        return node, None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        said = ", ".join(part for part in (error.context, error.problem) if part)
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{name}{line}: not YAML: {said}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{name} is not YAML: {str(error).splitlines()[0]}") from error
    except ValueError as error:  # a date that no calendar has
        raise InputError(f"{name} holds a value that cannot be: {error}") from error


def _repeated(node: yaml.Node, above: tuple[str, ...] = ()) -> Iterator[str]:
    """One line for each key that a mapping has twice: YAML would take the last and say nothing of the others."""
    if isinstance(node, yaml.SequenceNode):
        for place, item in enumerate(node.value):
            yield from _repeated(item, (*above, str(place)))
    elif isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            known = (*above, reprlib.repr(key.value).strip("'"))
            if isinstance(key, yaml.ScalarNode):
                if (first := lines.get((key.tag, key.value))) is not None:
                    yield f"{line}: {'.'.join(known)}: this key stands on line {first} already; keep one of the two"
                lines.setdefault((key.tag, key.value), line)
            yield from _repeated(value, known)


def dotted(location: Sequence[str | int]) -> str:
    """A key by all that stands above it."""
    return ".".join(map(str, location))


class Recipe:
    """A checked recipe."""

    def __init__(self, content: Mapping[str, Any], where: Where = dotted) -> None:
        self.where = where
        self._model = recipe_model().model_validate(_share(content))
        self.name: str = self._model.name
        self.min_repositories: int = self._model.min_repositories
        self.engine: Policy = self._model.engine
        self.limits: Limits = self._model.limits
        self.train: TrainParams | None = self._model.train
        self.extend: ExtendParams | None = self._model.extend
        self.instruct: InstructParams | None = self._model.instruct
        self.evaluate: EvaluateParams = self._model.evaluate

    def section(self, stage: str) -> dict[str, Any]:
        """A stage's parameters."""
        section: Params = getattr(self._model, stage)
        return {name: getattr(section, name) for name in type(section).model_fields}

    def model_dump(self) -> dict[str, Any]:
        """The whole recipe with every default, as JSON values."""
        return self._model.model_dump(mode="json")

    @classmethod
    def load(cls, path: Path) -> "Recipe":
        """Reads a recipe. Raises InputError naming each wrong line."""
        return cls._checked(*_read(path))

    @classmethod
    def parse(cls, text: str, name: str) -> "Recipe":
        """Reads a recipe from its text. Raises InputError naming each wrong line of what is called `name`."""
        return cls._checked(*_keys(text, name))

    @classmethod
    def _checked(cls, content: dict[str, Any], where: Where) -> "Recipe":
        with _explained(recipe_model(), where):
            return cls(content, where)


def read_section(path: Path, stage: str) -> dict[str, Any]:
    """A stage's section out of a file that holds nothing else. Raises InputError naming each wrong line."""
    content, where = _read(path)
    with _explained(section(stage), where):
        section(stage).model_validate(content)
    return content


def read_settings(path: Path, model: type[M]) -> M:
    """A YAML file as a model. Raises InputError naming each wrong line."""
    content, where = _read(path)
    with _explained(model, where):
        return model.model_validate(content)


@contextlib.contextmanager
def _explained(model: type[BaseModel], where: Where) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        raise InputError("\n".join(explain(error, model, where))) from None


def _read(path: Path) -> tuple[dict[str, Any], Where]:
    """A file's keys, and where each stands. Raises InputError."""
    try:
        if path.stat().st_size > _LARGEST_RECIPE:
            raise InputError(f"{path} is too large: more than {_LARGEST_RECIPE >> 20} MiB")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: {error}") from error
    return _keys(text, str(path))


def _keys(text: str, name: str) -> tuple[dict[str, Any], Where]:
    """The keys of a text, and where each stands. Raises InputError."""
    tree, content = read_yaml(text, name)
    if tree is None or not isinstance(content, dict):
        raise InputError(f"{name} has no keys")
    return content, functools.partial(_where, name, tree)


def _share(content: Mapping[str, Any]) -> dict[str, Any]:
    """Gives the shared parameters to every section that has them and does not set them itself."""
    full = dict(content)
    for name in SHARED:
        value = content.get(name, _Recipe.model_fields[name].default)
        owners: list[tuple[str, type[BaseModel]]] = [("train", TrainParams), ("evaluate", EvaluateParams)]
        owners += [(stage, section(stage)) for stage in DATA_PATH]
        if name == "seed":  # the later stages of a training have lengths of their own
            owners += [("extend", ExtendParams), ("instruct", InstructParams)]
        for owner, model in owners:
            given = owner in full or owner not in _OPTIONAL
            if given and name in model.model_fields and isinstance(mine := full.get(owner, {}), dict):
                full[owner] = {name: value, **mine}
    return full


def _has_defaults(model: type[BaseModel]) -> bool:
    return not any(field.is_required() for field in model.model_fields.values())


def _got(value: object) -> str:
    return f"; got {reprlib.repr(value)}"


def explain(
    error: ValidationError, model: type[BaseModel], where: Where, got: Callable[[object], str] = _got
) -> Iterator[str]:
    """One line for each thing that is wrong with a model's content: where, what is allowed, the nearest spelling.

    `got` says what stands there instead.
    """
    for problem in error.errors(include_url=False):
        location = problem["loc"]
        context, given = problem.get("ctx", {}), problem["input"]
        message = problem["msg"]
        if problem["type"] == "extra_forbidden":
            message = "there is no such key" + _choice(str(location[-1]), _allowed(model, location[:-1]))
        elif problem["type"] == "missing":
            message = "this key is missing"
        elif problem["type"] == "union_tag_not_found":
            location = (*location, context["discriminator"].strip("'"))
            message = "this key is missing"
        elif problem["type"] == "union_tag_invalid":
            key, tag = context["discriminator"].strip("'"), context["tag"]
            location = (*location, key)
            message = f"there is no such {key}{got(tag)}" + _choice(tag, _QUOTED.findall(context["expected_tags"]))
        elif problem["type"] in ("literal_error", "enum"):
            message += got(given) + nearest(str(given), _QUOTED.findall(context["expected"]))
        else:
            if problem["type"] == "value_error":
                message = str(context["error"])
            if not isinstance(given, Mapping | list):
                message += got(given)
        yield f"{where(location)}: {message}"


def _choice(word: str, allowed: Sequence[str]) -> str:
    """The end of an error about a word: the nearest that is allowed, and all of them."""
    return f"{nearest(word, allowed) or '.'} Allowed here: {', '.join(allowed)}." if allowed else ""


def _where(name: str, tree: yaml.Node, location: Sequence[str | int]) -> str:
    line, known = _find(tree, location)
    return f"{name}:{line}: {dotted(known)}"


def _find(node: yaml.Node, location: Sequence[str | int]) -> tuple[int, tuple[str | int, ...]]:
    """The line of the deepest part of a location that the file has, and the location without pydantic's union tags."""
    known: list[str | int] = []
    line = node.start_mark.line + 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    line, node = key.start_mark.line + 1, value
                    break
            else:
                if not known or part == location[-1]:
                    known.append(part)
                continue
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        known.append(part)
    return line, tuple(known)


def _allowed(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """The keys that are allowed at a location of a model."""
    models = [model]
    for part in location:
        if isinstance(part, int):
            continue
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        if fields:
            models = [model for field in fields for model in _models_in(field.annotation)]
        else:  # the tag of a union
            models = [model for model in models if _kind(model) == part] or models
    return sorted({name for model in models for name in model.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401
    """The models that an annotation names, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in getattr(annotation, "__args__", ()) for model in _models_in(argument)]


def _kind(model: type[BaseModel]) -> str | None:
    """The tag by which a discriminated union knows a model: what its field `kind` must be."""
    field = model.model_fields.get("kind")
    return field.annotation.__args__[0] if field and field.annotation else None
