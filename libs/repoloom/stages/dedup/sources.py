"""Sources: what stands before the first "/" of the repositories' names, e.g. "pypi"."""

from collections import Counter
from collections.abc import Iterable


def source_of(repo: str) -> str:
    """The source of a repository, "" for a name without one."""
    return repo.partition("/")[0] if "/" in repo else ""


def count_sources(repos: Iterable[str]) -> Counter[str]:
    """The number of repositories of each source."""
    return Counter(map(source_of, repos))
