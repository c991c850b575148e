"""Python imports this at its start where it is on its path: notes which files it runs, for `repoloom.up.reload`.

Their paths are appended to the file that REPOLOOM_LOADED names, by all processes of a program alike.
"""

import os
import sys
from typing import Any


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "exec":  # what an import does with a module's code
        path = arguments[0].co_filename
    elif event == "cpython.run_file":  # a program's own
        path = arguments[0]
    else:
        return
    if path.endswith(".py"):
        with open(os.environ["REPOLOOM_LOADED"], "a") as notes:  # noqa: PTH123 - pathlib is not loaded yet
            notes.write(f"{path}\n")


sys.addaudithook(_note)
