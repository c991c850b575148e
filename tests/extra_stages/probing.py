"""A whole small run in processes of its own, to be watched, starved and killed; and a disk that can be full."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repoloom.corpus.reading import verify_part
from repoloom.engine.task import Commit
from repoloom.store import open_store

EXTRA_STAGES = Path(__file__).parent


@dataclass(frozen=True)
class Ended:
    """How a run ended: with a digest, or with an error."""

    digest: str | None
    quarantined: dict[str, dict[str, Any]]  # by the repository that was reached
    error: str


@dataclass
class Probe:
    """probe.make, and probe.copy on what it made: one task a repository."""

    out: Path
    make: Mapping[str, Any] = field(default_factory=dict)
    step: str | None = "probe.copy"
    params: Mapping[str, Any] = field(default_factory=dict)
    workers: int = 2
    limits: Mapping[str, Any] = field(default_factory=dict)
    attempts: int = 2
    environment: Mapping[str, str] = field(default_factory=dict)
    within: tuple[str, ...] = ()  # a command that runs the run

    def start(self) -> "subprocess.Popen[str]":
        """Starts the run as the leader of a process group of its own."""
        wanted = {
            "out": str(self.out),
            "make": self.make,
            "step": self.step,
            "params": self.params,
            "workers": self.workers,
            "limits": self.limits,
            "policy": {"task_bytes": 1, "attempts": self.attempts},
        }
        return subprocess.Popen(
            [*self.within, sys.executable, str(EXTRA_STAGES / "probe_run.py"), json.dumps(wanted)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(EXTRA_STAGES), **self.environment},
        )

    def run(self) -> Ended:
        """Runs to the end."""
        answer, error = self.start().communicate()
        if not answer:
            return Ended(None, {}, error)
        ended = json.loads(answer)
        return Ended(ended["digest"], {failure["at"]: failure for failure in ended["quarantined"]}, error)


def committed(out: Path) -> dict[Path, tuple[int, int]]:
    """Each object of each committed task below a folder, with its inode and time: what is written anew changes both."""
    tasks = [commit.parent for commit in out.rglob("commit.json")]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for task in tasks for path in task.iterdir()}


def verify_commits(out: Path) -> int:
    """Checks every part that a commit below a folder names; returns how many commits there are."""
    commits = list(out.rglob("commit.json"))
    for path in commits:
        commit = Commit.model_validate_json(path.read_bytes())
        for part in (part for parts in commit.tables.values() for part in parts):
            verify_part(open_store(str(path.parents[2])), part)
    return len(commits)


@dataclass(frozen=True)
class Disk:
    """A file system of its own size, in a mount namespace that ends with its keeper."""

    keeper: "subprocess.Popen[bytes]"
    mounted_at: str

    @property
    def within(self) -> tuple[str, ...]:
        """Runs a command where the disk is mounted."""
        return ("nsenter", f"--target={self.keeper.pid}", "--user", "--preserve-credentials", "--mount")

    @property
    def seen_from_here(self) -> Path:
        """The disk's folder for a process that is not there."""
        return Path(f"/proc/{self.keeper.pid}/root{self.mounted_at}")

    def remount(self, options: str) -> None:
        """Changes the disk: its size, or whether it can be written."""
        subprocess.run([*self.within, "mount", "-o", f"remount,{options}", self.mounted_at], check=True)
