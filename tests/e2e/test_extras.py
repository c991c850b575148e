"""Where an extra is not installed, every command that needs it says so in one line, with the command that brings it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import repoloom

from repoloom.cli.extras import EXTRAS

WITHOUT = """
import sys
class Missing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {modules}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing)
"""

RECIPE = """
name: small
crawl: {sources: [{kind: folder, path: "{stdlib}/json"}]}
train: {size: tiny-1M, steps: 9, learning_rate: 0.001, batch_size: 8, micro_batch_size: 8, warmup_steps: 1}
"""


def without(extra: str, folder: Path) -> dict[str, str]:
    """The environment of a process in which the modules of an extra cannot be imported."""
    (folder / "sitecustomize.py").write_text(WITHOUT.format(modules=EXTRAS[extra]))
    return {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize(
    ("extra", "arguments"),
    [
        ("services", ("up", "--folder", "stack")),
        ("services", ("worker", "--store", "data")),
        ("services", ("jobs", "--target", "localhost:1")),
        ("services", ("verify", "s3://bucket/run")),
        ("services", ("run", "recipe.yaml", "--store", "s3://bucket/run")),
        ("services", ("run", "recipe.yaml", "--engine", "celery")),
        ("train", ("run", "recipe.yaml")),
        ("train", ("train", "recipe.yaml")),
        ("distributed", ("train", "recipe.yaml", "--parallel", "zero1")),
        ("train", ("complete", "--model", "model", "--prefix-file", "recipe.yaml")),
    ],
)
def test_a_missing_extra_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: str, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(RECIPE)
    ended = repoloom(*arguments, **without(extra, tmp_path))
    assert ended.code == 1
    assert ended.err.splitlines()[-1].endswith(f"not installed: {sys.executable} -m pip install 'repoloom[{extra}]'")
    assert "Traceback" not in ended.err
    assert extra == "services" or not Path("out").exists(), "nothing has begun"


def test_the_inference_server_says_in_one_line_what_it_lacks(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from repoloom_inference.main import main; main()", "--model", "model"]
    environment = {**os.environ, **without("inference", tmp_path)}
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].endswith(
        f"not installed: {sys.executable} -m pip install 'repoloom[inference]'"
    )
    assert "Traceback" not in ended.stderr
