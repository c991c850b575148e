"""Numbers of a file of values, which to helm are floats that Go prints as 1e+06 from a million on."""

import json
from collections.abc import Mapping
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
from helm import CHARTS, DEVELOPMENT, render

MILLION = 1_000_000
PRODUCTION, ALL = (f"--values={Path(__file__).with_name(name)}" for name in ("production.yaml", "inference.yaml"))


@pytest.mark.parametrize(
    ("chart", "options"),
    [
        ("repoloom", (PRODUCTION,)),
        ("repoloom", (DEVELOPMENT, "--set=workers.defaults.autoscaling.enabled=false")),
        ("inference", (ALL,)),
        ("inference", (ALL, "--set=autoscaling.enabled=false")),
    ],
)
def test_a_million_stays_whole_wherever_a_value_may_be_one(chart: str, options: tuple[str, ...]) -> None:
    schema = json.loads((CHARTS / chart / "values.schema.json").read_text())
    objects = str(render(chart, *options, **millions(schema, schema)))
    assert str(MILLION) in objects
    assert "1e+06" not in objects


def millions(group: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a million, in each place where the schema lets a number be as large."""
    found = {}
    for name, told in group["properties"].items():
        own = resolved(told, schema)
        if "properties" in own:
            found[name] = millions(own, schema)
        elif any(numeric(each) for each in own.get("anyOf", [own])) and own.get("maximum", MILLION) >= MILLION:
            found[name] = MILLION
    return found


def resolved(told: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema, or what it refers to: `#/$defs/service/properties/replicas`."""
    while "$ref" in told:
        told = reduce(getitem, told["$ref"].split("/")[1:], schema)
    return told


def numeric(schema: Mapping[str, Any]) -> bool:
    """Whether it takes numbers: its type is one, or is among several."""
    kinds = schema.get("type", "")
    return bool({"integer", "number"} & set([kinds] if isinstance(kinds, str) else kinds))
