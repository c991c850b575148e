"""The recipe that stands in a resource: checked by the library, its errors said as the command line says them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from repoloom.errors import InputError
from repoloom.recipe.model import Recipe, explain, recipe_model
from repoloom.recipe.paths import check_shared
from repoloom.recipe.progress import recipe_identity
from repoloom.recipe.sections import DATA_PATH


@dataclass(frozen=True)
class Checked:
    """A recipe that is one."""

    recipe: Recipe
    content: Mapping[str, Any]  # as it stands in the resource
    identity: str  # equal for equal work, however much of it was left to the defaults


def check(content: Mapping[str, Any]) -> Checked:
    """A recipe of which pods will do the work. Raises InputError with a line for each thing that is wrong."""

    def where(location: Sequence[str | int]) -> str:
        return "spec.recipe." + ".".join(map(str, _place(content, location)))

    try:
        recipe = Recipe(content, where)
    except ValidationError as error:
        raise InputError("\n".join(explain(error, recipe_model(), where))) from None
    for stage in DATA_PATH:
        check_shared(stage, recipe.section(stage), where)
    return Checked(recipe, content, recipe_identity(recipe.model_dump()))


def _place(content: Any, location: Sequence[str | int]) -> list[str | int]:  # noqa: ANN401
    """A location without the tags by which pydantic tells the members of a union: those the content does not have."""
    place: list[str | int] = []
    for number, part in enumerate(location):
        inside = isinstance(content, Mapping) and part in content
        among = isinstance(content, list) and isinstance(part, int) and part < len(content)
        if inside or among:
            content = content[part]
        elif number != len(location) - 1:
            continue
        place.append(part)
    return place
