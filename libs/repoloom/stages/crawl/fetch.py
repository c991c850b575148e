"""From a source to its repositories: which fetcher serves which kind."""

from collections.abc import Iterator
from pathlib import Path

from repoloom.errors import InputError
from repoloom.stages.crawl import archive, debian, folder, git, npm, pypi, rows
from repoloom.stages.crawl.entry import Repository
from repoloom.stages.crawl.limits import Budget, Limits
from repoloom.stages.crawl.policy import Policy
from repoloom.stages.crawl.resolve import changed
from repoloom.stages.crawl.sources import (
    ArchiveSource,
    DebianSource,
    FolderSource,
    GitSource,
    JsonlSource,
    NpmSource,
    ParquetSource,
    PypiSource,
    Source,
)


def repositories(source: Source, limits: Limits, scratch: Path) -> Iterator[Repository]:
    """The repositories of a source. What has to be fetched goes to `scratch`, an empty folder that the caller removes.

    Raises SourceUnavailableError, UnreadableSourceError, RepositoryTooLargeError, NotAllowedError; InputError where
    local files changed.
    """
    Policy.here().check(source)
    budget = Budget(str(source), limits)
    match source:
        case PypiSource():
            entries = archive.entries(pypi.download(source, limits, scratch), scratch, budget)
            yield Repository(
                source.repository, source.version, "pypi", f"pkg:{source.usual_name}@{source.version}", entries
            )
        case NpmSource():
            entries = archive.entries(npm.download(source, limits, scratch), scratch, budget)
            url = f"pkg:{source.usual_name.replace('@', '%40')}@{source.version}"
            yield Repository(source.repository, source.version, "npm", url, entries)
        case DebianSource():
            entries = debian.entries(debian.download(source, limits, scratch), scratch, budget)
            url = f"pkg:deb/{source.usual_name}@{source.version}?arch=source"
            yield Repository(source.repository, source.version, "debian", url, entries)
        case GitSource():
            yield git.repository(source, limits, scratch)
        case _:
            yield from _local(source, limits, scratch, budget)


def _local(
    source: FolderSource | ArchiveSource | JsonlSource | ParquetSource, limits: Limits, scratch: Path, budget: Budget
) -> Iterator[Repository]:
    if changed(source):
        raise InputError(f"{source} has changed since the run was planned; start the run again")
    path = folder.local_path(source.path)
    if isinstance(source, JsonlSource | ParquetSource):
        yield from rows.repositories(source, path, budget)
        return
    is_folder = isinstance(source, FolderSource)
    entries = folder.entries(path, limits) if is_folder else archive.entries(path, scratch, budget)
    yield Repository(source.repository, source.revision or "", source.kind, source.path, entries)
