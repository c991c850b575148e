"""The files of this machine that a stage is told to read: looked for before anything runs, so an error has its line."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from repoloom.errors import InputError
from repoloom.training.config import InstructParams, InstructSource

Where = Callable[[Sequence[str | int]], str]
"""Says where a key stands, as an error begins: file, line and key."""


def check_paths(stage: str, values: Mapping[str, Any], where: Where) -> None:
    """Looks for what will be read of a stage's paths. Raises InputError."""
    from repoloom.stages.crawl.folder import local_path
    from repoloom.stages.crawl.git import is_pinned, local_repository
    from repoloom.stages.crawl.resolve import is_resolved
    from repoloom.stages.crawl.sources import GitSource
    from repoloom.stages.decontaminate.benchmarks import read_benchmark

    for number, source in enumerate(values.get("sources", ())):
        settled = source.url or is_pinned(source) if isinstance(source, GitSource) else is_resolved(source)
        if not settled:
            with _told_where(where, stage, "sources", number):
                (local_repository if isinstance(source, GitSource) else local_path)(source.path)
    for number, source in enumerate(values.get("benchmarks", ())):
        with _told_where(where, stage, "benchmarks", number):
            read_benchmark(source.path)


def pin_conversations(params: InstructParams, where: Where) -> tuple[InstructSource, ...]:
    """The sources with the digests of their files, every line of them looked at. Raises InputError."""
    from repoloom.training.conversations import pin

    pinned = []
    for number, source in enumerate(params.sources):
        with _told_where(where, "instruct", "sources", number):
            pinned.append(pin(source))
    return tuple(pinned)


def check_shared(stage: str, values: Mapping[str, Any], where: Where) -> None:
    """Refuses what workers elsewhere would look for below their own folders. Raises InputError.

    Benchmarks are no part of it: they are read where the recipe is run.
    """
    for number, source in enumerate(values.get("sources", ())):
        path = getattr(source, "path", None)
        if path is not None and "://" in path:
            raise InputError(
                f"{where((stage, 'sources', number, 'path'))}: {path!r} is no path; a source is a file or folder that "
                "the workers have, at the same path"
            )
        if path is not None and not path.startswith("{") and not Path(path).is_absolute():
            raise InputError(
                f"{where((stage, 'sources', number, 'path'))}: {path!r} is relative, and Celery's workers run in "
                "folders of their own; write an absolute path that they have too"
            )


@contextmanager
def _told_where(where: Where, *source: str | int) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{where((*source, 'path'))}: {error}") from error
