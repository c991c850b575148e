"""Where the files came from: the sources reached, those not reached and why, and the tasks that were given up."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

from repoloom.corpus.dataset import Dataset
from repoloom.corpus.manifest import Record
from repoloom.engine.task import Kind
from repoloom.report.limits import Limits
from repoloom.report.tables import Tables


class Failure(Record):
    """A task that was given up."""

    step: str
    kind: str
    at: str  # the repository that it had reached
    error: str
    attempts: int


class KindOfSource(Record):
    """The repositories of one kind of source."""

    kind: str  # "pypi", "git", ...
    repositories: int
    files: int
    bytes: int


class Sources(Record):
    """What the crawl reached."""

    wanted: int | None  # sources of the recipe
    repositories: int
    kinds: tuple[KindOfSource, ...]
    licenses: tuple[tuple[str, int], ...]  # the most frequent ones: SPDX expression, repositories
    unavailable: int
    not_reached: tuple[Failure, ...]


def sources(tables: Tables, limits: Limits) -> Sources | None:
    """What the tables of the crawl say; None where there was none."""
    crawl = tables.holder("repositories")
    if crawl is None:
        return None
    repositories, files, sizes, licenses = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for row in tables.rows("repositories", ["kind", "files", "bytes", "license"]):
        repositories[row["kind"]] += 1
        files[row["kind"]] += row["files"]
        sizes[row["kind"]] += row["bytes"]
        licenses[row["license"]] += 1
    lost = [failure for failure in crawl.manifest.quarantined if failure.kind == Kind.UNAVAILABLE]
    return Sources(
        wanted=tables.count("sources"),
        repositories=sum(repositories.values()),
        kinds=tuple(
            KindOfSource(kind=kind, repositories=repositories[kind], files=files[kind], bytes=sizes[kind])
            for kind in sorted(repositories)
        ),
        licenses=tuple(sorted(licenses.items(), key=lambda item: (-item[1], item[0]))[: limits.licenses]),
        unavailable=len(lost),
        not_reached=tuple(islice(_failures(crawl, unavailable=True, limits=limits), limits.failures)),
    )


class Failures(Record):
    """The tasks that were given up for another reason than that something outside could not be had."""

    total: int
    shown: tuple[Failure, ...]


def failures(datasets: Iterable[Dataset], limits: Limits) -> Failures | None:
    """Those of all datasets; None where there are none."""
    found = [failure for dataset in datasets for failure in _failures(dataset, unavailable=False, limits=limits)]
    return Failures(total=len(found), shown=tuple(found[: limits.failures])) if found else None


def _failures(dataset: Dataset, *, unavailable: bool, limits: Limits) -> Iterator[Failure]:
    """The quarantined tasks of a dataset; sources that could not be reached apart from the others."""
    for failure in dataset.manifest.quarantined:
        if (failure.kind == Kind.UNAVAILABLE) is unavailable:
            yield Failure(
                step=dataset.manifest.step,
                kind=failure.kind,
                at=failure.at[: limits.characters],
                error=failure.error[: limits.characters],
                attempts=failure.attempts,
            )
