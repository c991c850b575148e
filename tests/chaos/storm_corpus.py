"""A small corpus and its recipe: some 150 tasks over all steps of the data path, and one object sent in parts."""

import os
import random
import shutil
from pathlib import Path

import yaml

TASK_BYTES = 20_000
TASK_SECONDS = 19  # less than the fleet's visibility timeout
ATTEMPTS = 10
_PACKAGES = ("concurrent", "email", "html", "http", "importlib", "json", "logging", "unittest", "xml")
_FILES = 5  # of each
_LARGEST = 30_000  # bytes
_NOISE_FILES, _NOISE_BYTES = 14, 1_000_000  # as hexadecimal digits, which compress to half


def make_recipe(folder: Path) -> Path:
    """Writes the corpus and a recipe that reads it."""
    library = Path(os.__file__).parent
    for package in _PACKAGES:
        below = folder / "sources" / package
        below.mkdir(parents=True)
        sources = [path for path in sorted((library / package).rglob("*.py")) if 200 < path.stat().st_size < _LARGEST]
        for path in sources[:_FILES]:
            (below / path.name).write_bytes(path.read_bytes())
    shutil.copytree(folder / "sources" / "json", folder / "sources" / "json_again")  # something to find twice
    _write_noise(folder / "sources" / "noise")
    recipe = {
        "name": "storm",
        "seed": 3,
        "sequence_length": 128,
        "engine": {"task_bytes": TASK_BYTES, "attempts": ATTEMPTS},
        "limits": {"seconds": TASK_SECONDS},
        "crawl": {
            "sources": [{"kind": "folder", "path": str(path)} for path in sorted((folder / "sources").iterdir())]
        },
        "split": {"fraction": 0.4},
        "tokenize": {"vocab_size": 300},
    }
    path = folder / "storm.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def _write_noise(folder: Path) -> None:
    """What the crawl keeps and the filter drops, larger than an object that is sent in one request."""
    folder.mkdir()
    draw = random.Random(0)
    for number in range(_NOISE_FILES):
        digits = draw.randbytes(_NOISE_BYTES // 2).hex()
        (folder / f"noise_{number}.py").write_text(f'"""{digits}"""\n')
