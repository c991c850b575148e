"""The machine here: Python, what is installed, programs, disk and memory."""

import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import psutil
from packaging.requirements import Requirement

from repoloom.up.doctor.finding import Finding

_PYTHON = (3, 11)
_DISK_LOW, _DISK_NONE = 10 << 30, 1 << 30  # bytes
_MEMORY_LOW = 2 << 30  # bytes for each core: a task may be given so much
_PROGRAMS = {"git": "repositories are crawled with it", "npm": "its configuration says where npm packages come from"}
_EXTRAS = {
    "services": "the services, workers and S3",
    "local": "`repoloom up` where there is no Redis and no S3 server",
    "train": "training",
}


def machine_findings(folder: Path) -> Iterator[Finding]:
    """What can be seen without any network. `folder` is where data is to lie, or a place above it."""
    yield _python()
    yield from (_extra(extra, purpose) for extra, purpose in _EXTRAS.items())
    yield from (_program(program, purpose) for program, purpose in _PROGRAMS.items())
    yield from (_disk(place) for place in dict.fromkeys([_existing(folder), Path(tempfile.gettempdir())]))
    yield _memory()


def _python() -> Finding:
    found = platform.python_version()
    if sys.version_info < _PYTHON:
        return Finding.fail("python", f"{found} is too old", f"install Python {'.'.join(map(str, _PYTHON))} or newer")
    return Finding.ok("python", found)


def _extra(extra: str, purpose: str) -> Finding:
    """Whether the packages of an extra are installed, in releases that fit."""
    wanted = [Requirement(text) for text in requires("repoloom") or ()]
    lacking = [
        str(requirement.name) + str(requirement.specifier)
        for requirement in wanted
        if requirement.marker is not None
        and requirement.marker.evaluate({"extra": extra})
        and not requirement.marker.evaluate({"extra": ""})
        and not _fits(requirement)
    ]
    subject = f"extra {extra}"
    if lacking:
        way_out = f"pip install 'repoloom[{extra}]', if you want {purpose}"
        return Finding.warn(subject, f"not installed: {', '.join(lacking)}", way_out)
    return Finding.ok(subject, f"installed: {purpose}")


def _fits(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False


def _program(program: str, purpose: str) -> Finding:
    if found := shutil.which(program):
        return Finding.ok(program, found)
    return Finding.warn(program, f"not found; {purpose}", f"install {program}")


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    subject, said = f"disk of {folder}", f"{free / 2**30:.1f} GiB free"
    if free < _DISK_NONE:
        return Finding.fail(subject, said, "free some space, or choose another disk: tasks fail when it is full")
    if free < _DISK_LOW:
        return Finding.warn(subject, said, "a corpus and its steps take a few times its size: free some space")
    return Finding.ok(subject, said)


def _memory() -> Finding:
    memory, cores = psutil.virtual_memory(), psutil.cpu_count() or 1
    said = f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB available, {cores} cores"
    if memory.available < _MEMORY_LOW:
        return Finding.fail("memory", said, "end other programs: a task may need 2 GiB")
    if memory.available < cores * _MEMORY_LOW:
        fewer = max(1, memory.available // _MEMORY_LOW)
        return Finding.warn("memory", said, f"run fewer tasks at a time: --workers {fewer}")
    return Finding.ok("memory", said)


def _existing(folder: Path) -> Path:
    """The folder, or what there is above it."""
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.is_dir())
