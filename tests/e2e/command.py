"""Running the command line in a process of its own, and the recipe of one small run through the whole path."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECIPE = """
name: small
seed: 3
sequence_length: 128
engine: {task_bytes: 100000, attempts: 2}
crawl:
  sources:
    - {kind: folder, path: "{stdlib}/json"}
    - {kind: folder, path: "{stdlib}/email"}
    - {kind: folder, path: "{stdlib}/http"}
    - {kind: folder, path: "{stdlib}/logging"}
    - {kind: folder, path: "{stdlib}/importlib"}
    - {kind: folder, path: "{stdlib}/unittest"}
    - {kind: git, url: "https://nowhere.invalid/at/all"}
split: {fraction: 0.3}
tokenize: {vocab_size: 600}
train:
  size: {hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1,
         rope_linear_factor: 1, tie_word_embeddings: true}
  batch_size: 8
  micro_batch_size: 8
  threads: 1
  steps: 120
  learning_rate: 0.01
  warmup_steps: 10
  checkpoint_every: 40
evaluate: {holes: 10, max_bytes: 20000}
"""


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def repoloom(*arguments: object, **environment: str) -> Result:
    """Runs the command line in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", "from repoloom.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200", **environment},
    )
    return Result(done.returncode, done.stdout, done.stderr)


def killed_after(seconds: float, *arguments: object) -> None:
    """Runs the command line and ends it, not its workers, with SIGKILL after a while."""
    command = [sys.executable, "-c", "from repoloom.cli import main; main()", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()


def interrupted_at(line: str, *arguments: object) -> Result:
    """Runs the command line and presses Ctrl-C, as it were, when it first says a line on stderr."""
    command = [sys.executable, "-c", "from repoloom.cli import main; main()", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said: list[str] = []
        for heard in process.stderr:
            said.append(heard)
            if line in heard:
                process.send_signal(signal.SIGINT)
        code = process.wait()
    return Result(code, "", "".join(said))


@dataclass(frozen=True)
class Run:
    """A finished run."""

    recipe: Path
    out: Path
    result: Result
