"""A small corpus and its recipe, at one path here and in the pods: a path is a parameter, so digests hold it."""

import json
import os
from pathlib import Path

import yaml

FOLDER = Path("/tmp/repoloom-e2e")
_PACKAGES = ("concurrent", "email", "html", "http", "importlib", "json", "logging", "unittest", "xml")
_FILES, _LARGEST = 5, 30_000  # of each package; bytes

_SIZE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "rope_linear_factor": 1,
    "tie_word_embeddings": True,
}
_TRAINING = {
    "batch_size": 8,
    "micro_batch_size": 4,
    "steps": 40,
    "learning_rate": 0.01,
    "warmup_steps": 2,
    "checkpoint_every": 10,
}


def write_corpus() -> Path:
    """Writes one file of JSON lines for each package; returns the recipe's path."""
    FOLDER.mkdir(exist_ok=True)
    library = Path(os.__file__).parent
    sources = []
    for package in _PACKAGES:
        found = [path for path in sorted((library / package).rglob("*.py")) if 200 < path.stat().st_size < _LARGEST]
        rows = [
            {"repo": f"python/{package}", "path": str(path.relative_to(library)), "content": path.read_text()}
            for path in found[:_FILES]
        ]
        file = FOLDER / f"{package}.jsonl"
        _write(file, "".join(f"{json.dumps(row)}\n" for row in rows))
        columns = {"repo": "repo", "path": "path", "content": "content"}
        sources.append({"kind": "jsonl", "path": str(file), "columns": columns})
    recipe = FOLDER / "recipe.yaml"
    _write(
        recipe,
        yaml.safe_dump(
            {
                "name": "e2e",
                "seed": 3,
                "sequence_length": 128,
                "engine": {"task_bytes": 20_000, "attempts": 10},
                "limits": {"seconds": 120},
                "crawl": {"sources": sources},
                "split": {"fraction": 0.4},
                "tokenize": {"vocab_size": 300},
                "train": {"size": _SIZE, **_TRAINING},
                "evaluate": {"holes": 8, "max_bytes": 20_000},
            }
        ),
    )
    return recipe


def _write(path: Path, text: str) -> None:
    """At once: another run of the tests may be reading the same."""
    made = path.with_name(f".{os.getpid()}")
    made.write_text(text)
    made.replace(path)
