"""Says before the tests run what this machine lacks for all of them to run, and what to do about it."""

import shutil
import subprocess
import sys

PROGRAMS = {"git": "git", "chromium": "chromium", "apt-get": "apt", "npm": "npm", "unshare": "util-linux"}

missing = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
if missing:
    sys.exit(f"the tests need {', '.join(missing)}: sudo apt-get install {' '.join(missing)}")
if subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "true"], check=False).returncode:
    sys.exit(
        "the tests fill and forbid file systems of their own, which needs user namespaces; where AppArmor forbids them "
        "(Ubuntu 24.04): sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
    )
