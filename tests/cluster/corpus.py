"""The demonstration's recipe on a small corpus, at one path here and in the pods: a path is a parameter, so digests
hold it.
"""

import json
import os
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path("/tmp/repoloom-e2e")
_DEMO = Path(__file__).parents[2] / "pipelines/recipes/demo.yaml"
_PACKAGES = ("concurrent", "email", "html", "http", "importlib", "json", "logging", "unittest", "xml")
_FILES, _LARGEST = 5, 30_000  # of each package; bytes


def write_corpus() -> Path:
    """Writes one file of JSON lines for each package; returns the recipe's path."""
    FOLDER.mkdir(exist_ok=True)
    sources = [_source(package) for package in _PACKAGES]
    recipe = FOLDER / "recipe.yaml"
    _write(recipe, yaml.safe_dump(_recipe(sources)))
    return recipe


def _recipe(sources: list[dict[str, Any]]) -> dict[str, Any]:
    """All stages, the tokenizer and the model are the demonstration's; what follows from so little text is not."""
    demo = yaml.safe_load(_DEMO.read_text())
    del demo["min_repositories"], demo["mix"]
    return {
        **demo,
        "engine": {"task_bytes": 20_000, "attempts": 10},
        "crawl": {"sources": sources},
        "split": {"fraction": 0.4},
        "train": {**demo["train"], "micro_batch_size": 4, "steps": 10, "warmup_steps": 2, "checkpoint_every": 5},
        "evaluate": {"holes": 8, "max_bytes": 20_000},
    }


def _source(package: str) -> dict[str, Any]:
    library = Path(os.__file__).parent
    found = [path for path in sorted((library / package).rglob("*.py")) if 200 < path.stat().st_size < _LARGEST]
    rows = [
        {"repo": f"python/{package}", "path": str(path.relative_to(library)), "content": path.read_text()}
        for path in found[:_FILES]
    ]
    file = FOLDER / f"{package}.jsonl"
    _write(file, "".join(f"{json.dumps(row)}\n" for row in rows))
    columns = {"repo": "repo", "path": "path", "content": "content"}
    return {"kind": "jsonl", "path": str(file), "columns": columns}


def _write(path: Path, text: str) -> None:
    """At once: another run of the tests may be reading the same."""
    made = path.with_name(f".{os.getpid()}")
    made.write_text(text)
    made.replace(path)
