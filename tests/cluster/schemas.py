"""JSON Schemas for kubeconform, of what an API server says of its kinds: its very version's, and custom ones."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cluster import output

LOCATION = "{{.Group}}/{{.ResourceAPIVersion}}/{{.ResourceKind}}.json"
"""Where in the folder kubeconform finds the schema of a kind. To it the core group is called as its version."""

_NUMBERS = {"io.k8s.apimachinery.pkg.api.resource.Quantity", "io.k8s.apimachinery.pkg.util.intstr.IntOrString"}
"""Strings by their schema, for which the server takes numbers too."""


def write_schemas(folder: Path) -> None:
    """Writes the schema of each kind that the cluster has."""
    definitions = json.loads(output("kubectl", "get", "--raw", "/openapi/v2"))["definitions"]
    strict = {name: _strict(name, schema) for name, schema in definitions.items()}
    for name, schema in definitions.items():
        for kind in schema.get("x-kubernetes-group-version-kind", ()):
            path = folder / (kind["group"] or kind["version"]) / kind["version"] / f"{kind['kind'].lower()}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            needed = {each: strict[each] for each in _closure(name, strict)}
            path.write_text(json.dumps({"$ref": f"#/definitions/{name}", "definitions": needed}))


def _strict(name: str, schema: Any) -> Any:
    """A schema that takes no field that it does not name, as `kubectl apply --validate=strict` does."""
    if name in _NUMBERS:
        return {"type": ["string", "number"]}
    if isinstance(schema, list):
        return [_strict("", each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {"additionalProperties": False} if isinstance(schema.get("properties"), dict) else {}
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        closed = {}
    return {**closed, **{key: _strict("", value) for key, value in schema.items()}}


def _closure(name: str, schemas: dict[str, Any]) -> set[str]:
    found, new = {name}, [name]
    while new:
        new = [each for each in set(_references(schemas, new)) if each not in found]
        found.update(new)
    return found


def _references(schemas: dict[str, Any], names: list[str]) -> Iterator[str]:
    open_ones: list[Any] = [schemas[name] for name in names]
    while open_ones:
        match open_ones.pop():
            case {"$ref": str(reference)}:
                yield reference.rpartition("/")[2]
            case dict() as schema:
                open_ones += schema.values()
            case list() as schemas_:
                open_ones += schemas_
