"""HumanEval single-line infilling (arXiv 2207.14255): its JSONL file as holes, to be judged by exact match."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

from repoloom.errors import InputError
from repoloom.evaluation.held_out import Hole

LARGEST_LINE = 1 << 20
"""Characters of a record: the benchmark's longest has a few thousand."""


def read_single_line_infilling(path: Path) -> Iterator[Hole]:
    """The holes of a `.jsonl` or `.jsonl.gz` file. Raises InputError naming the line that is not such a record."""
    number = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            while line := file.readline(LARGEST_LINE):
                number += 1
                if line.strip():
                    yield _hole(json.loads(line))
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        where = f"{path}, line {number}" if number else str(path)
        raise InputError(f"{where}: not a record of HumanEval infilling: {error!r}") from error


def _hole(record: dict[str, str]) -> Hole:
    solution, suffix = record["canonical_solution"], record["suffix"]
    line = solution.removesuffix("\n")
    return Hole(
        repo="HumanEval",
        path=record["task_id"],
        language="Python",
        prefix=record["prompt"],
        line=line,
        suffix=solution[len(line) :] + suffix,
    )
