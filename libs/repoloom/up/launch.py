"""`python launch.py PARENT PROGRAM ARGUMENTS...`: becomes a program that ends with the process that started it.

A file of its own, started without the rest of repoloom: the other way, code run between fork and exec, is not safe in
a process that has threads.
"""

import ctypes
import os
import resource
import signal
import sys


def main() -> None:
    """See the module's docstring. What prctl(2) and setrlimit(2) set stays over execve(2)."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold its secrets
    if os.getppid() != int(parent):  # it died before it could be noticed
        sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 - the supervisor's own words


if __name__ == "__main__":
    main()
