"""The command line knows of pipelines, and loads kfp for none of its own commands."""

import subprocess
import sys

_ASK = """
import sys
from repoloom.cli.app import app
assert "pipeline" in {group.name for group in app.registered_groups}
print(sorted({"kfp", "torch", "yaml", "pyarrow"} & set(sys.modules)))
"""


def test_the_command_line_has_the_pipelines_and_has_not_loaded_kfp() -> None:
    done = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
