"""A small recipe, and pipelines of it run here: by the command line, or with the artifacts at hand."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command import Result

RECIPE = """
name: small
seed: 3
sequence_length: 128
engine: {task_bytes: 40000, attempts: 2}
crawl:
  sources:
    - {kind: folder, path: "{stdlib}/json"}
    - {kind: folder, path: "{stdlib}/http"}
    - {kind: folder, path: "{stdlib}/logging"}
    - {kind: folder, path: "{stdlib}/importlib"}
filter: {max_line_length: 100}
split: {fraction: 0.3}
tokenize: {vocab_size: 600}
train:
  size: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 2, num_key_value_heads: 1,
         rope_linear_factor: 1, tie_word_embeddings: true}
  batch_size: 2
  micro_batch_size: 2
  threads: 1
  steps: 12
  learning_rate: 0.01
  warmup_steps: 2
  checkpoint_every: 4
extend: {sequence_length: 256, steps: 3, batch_size: 2, threads: 1}
instruct: {sources: [{path: CHAT}], epochs: 1, batch_size: 2, warmup_steps: 1, threads: 1, learning_rate: 0.001}
evaluate: {holes: 2, max_bytes: 4000}
"""


@dataclass(frozen=True)
class Whole:
    """A finished run of the whole pipeline."""

    recipe: Path
    store: Path
    root: Path  # of the artifacts


class Command:
    """The command line at work, in a group of processes of its own."""

    def __init__(self, *arguments: object, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from repoloom.cli import main; main()", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, **environment},
        )

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL for it and all that it started and that is of its group: its tasks and their workers."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def end(self) -> Result:
        out, err = self._process.communicate()
        return Result(self._process.returncode, out, err)


def repoloom(*arguments: object, **environment: str) -> Result:
    """Runs the command line to its end."""
    return Command(*arguments, **environment).end()


def made(store: Path) -> dict[str, str]:
    """The digest of each dataset of a run."""
    return {one["step"]: one["digest"] for one in json.loads((store / "run.json").read_text())["made"]}


def commits(store: Path) -> dict[Path, tuple[int, int]]:
    """What tells whether a task was committed anew."""
    found = {path: path.stat() for path in store.glob("*/tasks/**/commit.json")}
    return {path: (stat.st_ino, stat.st_mtime_ns) for path, stat in found.items()}


def outputs(root: Path) -> dict[str, dict[str, Any]]:
    """What each task said that it made: its artifacts by name."""
    said = {}
    for path in root.glob("*/*/executor_output.json"):
        artifacts = json.loads(path.read_text()).get("artifacts", {})
        said[path.parent.name] = {name: of["artifacts"][0] for name, of in artifacts.items()}
    return said
