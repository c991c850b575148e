"""Says before the tests run what this machine lacks for all of them to run, and the command that installs it."""

import shutil
import sys

PROGRAMS = {"git": "git", "chromium": "chromium", "apt-get": "apt"}

missing = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
if missing:
    sys.exit(f"the tests need {', '.join(missing)}: sudo apt-get install {' '.join(missing)}")
