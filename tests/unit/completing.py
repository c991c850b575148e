"""What the shell is told when somebody presses Tab."""

import os
import shlex
import subprocess
import sys
from pathlib import Path


def completed(*words: str, **environment: str) -> list[str]:
    """The completions of the last of the words after `repoloom`; nothing else may be said."""
    line = f"{shlex.join(['repoloom', *words[:-1]])} {words[-1]}"
    asked = {"_REPOLOOM_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
    found = subprocess.run(
        [Path(sys.executable).parent / "repoloom"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment, **asked},
    )
    assert found.stderr == ""
    return found.stdout.split()
