"""Precision and recall of the import edges, against edges that the languages' own tools gave.

    python tests/benchmarks/order_oracle.py --oracle dependency-oracle.tar.xz --repositories DIR

The archive holds the true edges of public repositories and REPOSITORIES.tsv, which names the address and the commit of
each. DIR holds a folder with the files of that commit for each of them, called like the oracle; a repository that has
none is left out. To make one:

    git clone https://github.com/OWNER/NAME clone && git -C clone archive COMMIT | tar -x -C DIR/OWNER__NAME

Nothing of a repository is run. Judged are the edges from files that the oracle judged. C and C++: recall on the edges
of one build, precision on every include that resolves in some build. Go: imports from files to packages, which is what
its tool gives. MB/s are of the source files of languages with rules, on one core. Prints a table; --json the figures.
"""

import argparse
import csv
import io
import json
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from repoloom.stages.order.edges import edges
from repoloom.stages.order.folder import files_of_folder
from repoloom.stages.order.languages import ALL
from repoloom.stages.order.languages.rules import Edge

LANGUAGES = {"c": "C, C++", "go": "Go", "java": "Java", "python": "Python", "tsjs": "TS, JS"}
WITH_RULES = frozenset[str]().union(*(rules.LANGUAGES for rules in ALL))

Pair = tuple[str, str]


@dataclass
class Score:
    """How the edges of one repository, or of several, compare with the oracle's."""

    language: str
    repository: str
    found: int = 0
    right: int = 0
    known: int = 0
    recalled: int = 0
    bytes: int = 0
    seconds: float = 0.0

    def add(self, other: "Score") -> None:
        for field in ("found", "right", "known", "recalled", "bytes", "seconds"):
            setattr(self, field, getattr(self, field) + getattr(other, field))

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        return self.recalled / self.known if self.known else 1.0

    @property
    def speed(self) -> float:
        return self.bytes / 1e6 / self.seconds if self.seconds else 0.0


def scores(oracle: Callable[[str], str | None], repositories: Path) -> Iterator[Score]:
    """One score for each repository of the oracle that is there."""
    for row in csv.DictReader(io.StringIO(oracle("REPOSITORIES.tsv") or ""), delimiter="\t", quoting=csv.QUOTE_NONE):
        name, language = row["name"], row["language"]
        nodes = oracle(f"{name}.nodes.txt")
        if nodes is not None and (repositories / name).is_dir():
            yield _score(oracle, repositories / name, LANGUAGES[language], set(nodes.splitlines()))


def _score(oracle: Callable[[str], str | None], folder: Path, language: str, nodes: Set[str]) -> Score:
    files = list(files_of_folder(folder))
    began = time.process_time()
    found = edges(files)
    seconds = time.process_time() - began
    judged = [edge for edge in found if edge.importer in nodes]
    if language == "Go":
        pairs = {_to_package(edge) for edge in judged if edge.how != "same-package"}  # of which the oracle says nothing
        known = allowed = _pairs(oracle(f"{folder.name}.filepkg.tsv"), nodes)
    else:
        pairs = {(edge.importer, edge.imported) for edge in judged}
        known = _pairs(oracle(f"{folder.name}.tsv"), nodes)
        allowed = known | _pairs(oracle(f"{folder.name}.superset.tsv"), nodes)
    size = sum(len(file.content) for file in files if file.language in WITH_RULES)
    return Score(language, folder.name, len(pairs), len(pairs & allowed), len(known), len(pairs & known), size, seconds)


def _to_package(edge: Edge) -> Pair:
    return edge.importer, edge.imported.rpartition("/")[0] or "."


def _pairs(lines: str | None, nodes: Set[str]) -> set[Pair]:
    rows = (line.split("\t") for line in (lines or "").splitlines())
    return {(importer, imported) for importer, imported, *_ in rows if importer in nodes}


def by_language(every: Iterable[Score]) -> list[Score]:
    totals: dict[str, Score] = {}
    for score in every:
        totals.setdefault(score.language, Score(score.language, "all")).add(score)
    return [totals[language] for language in sorted(totals)]


def _figures(score: Score) -> dict[str, object]:
    rounded = {name: round(getattr(score, name), 4) for name in ("precision", "recall")}
    return asdict(score) | rounded | {"mb_per_second": round(score.speed, 1)}


def _show(title: str, rows: Iterable[Score]) -> None:
    table = Table(title=title)
    table.add_column("language")
    table.add_column("repository", no_wrap=True)
    for column in ("found", "oracle", "precision", "recall", "MB", "MB/s"):
        table.add_column(column, justify="right")
    for row in rows:
        precision, recall = f"{row.precision:.4f}", f"{row.recall:.4f}"
        size, speed = f"{row.bytes / 1e6:.1f}", f"{row.speed:.0f}"
        table.add_row(row.language, row.repository, str(row.found), str(row.known), precision, recall, size, speed)
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracle", type=Path, required=True, help="dependency-oracle.tar.xz")
    parser.add_argument("--repositories", type=Path, required=True, help="a folder with one folder for each repository")
    parser.add_argument("--verbose", action="store_true", help="a row for each repository too")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    with tarfile.open(options.oracle) as archive:
        members = {Path(member.name).name: archive.extractfile(member) for member in archive if member.isfile()}
        texts = {name: member.read().decode() for name, member in members.items() if member is not None}
    every = sorted(scores(texts.get, options.repositories), key=lambda score: (score.language, score.repository))
    if options.json:
        print(json.dumps({"languages": [*map(_figures, by_language(every))], "repositories": [*map(_figures, every)]}))
        return
    if options.verbose:
        _show("By repository", every)
    _show("By language", by_language(every))


if __name__ == "__main__":
    main()
