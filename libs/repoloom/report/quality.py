"""Quality: how many files their grammars can read, and how the scores of style are spread."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from repoloom.corpus.manifest import Record
from repoloom.report.limits import Limits
from repoloom.report.tables import Tables
from repoloom.report.wording import plural

BINS = 20  # of the histogram of scores


class Syntax(Record):
    """The files of a language by what its grammar says of them."""

    language: str
    valid: int
    invalid: int
    unknown: int  # there is no grammar, or the file is too large to be parsed

    @property
    def files(self) -> int:
        return self.valid + self.invalid + self.unknown


class Quality(Record):
    """The verdicts on all files that were looked at."""

    files: int
    flawless: int  # with a score of 1
    scores: tuple[int, ...]  # files with a score below 1, in equal bins from 0
    min_score: float
    max_error_share: float
    languages: tuple[Syntax, ...]  # the one with most files first
    rest: Syntax | None  # all other languages together


def quality(tables: Tables, limits: Limits) -> Quality | None:
    """What the tables say; None where no scores were given."""
    holder = tables.holder("scores")
    if holder is None:
        return None
    bins: NDArray[np.int64] = np.zeros(BINS, np.int64)
    files = flawless = 0
    verdicts = Counter[tuple[str, str]]()
    for batch in tables.batches("scores", ["language", "syntax", "score"]):
        scores = batch["score"].to_numpy()
        below = scores[scores < 1]
        bins += np.bincount((below * BINS).astype(np.int64), minlength=BINS)
        files += len(scores)
        flawless += len(scores) - len(below)
        verdicts.update(zip(batch["language"].to_pylist(), batch["syntax"].to_pylist(), strict=True))
    languages = [
        _syntax(name, [name], verdicts)
        for name, _ in sorted(_by_language(verdicts).items(), key=lambda item: (-item[1], item[0]))
    ]
    shown, others = languages[: limits.syntax], [its.language for its in languages[limits.syntax :]]
    return Quality(
        files=files,
        flawless=flawless,
        scores=tuple(bins.tolist()),
        min_score=float(str(holder.manifest.params["min_score"])),
        max_error_share=float(str(holder.manifest.params["max_error_share"])),
        languages=tuple(shown),
        rest=_syntax(plural(len(others), "other"), others, verdicts) if others else None,
    )


def _by_language(verdicts: Counter[tuple[str, str]]) -> Counter[str]:
    totals = Counter[str]()
    for (language, _), files in verdicts.items():
        totals[language] += files
    return totals


def _syntax(label: str, names: list[str], verdicts: Counter[tuple[str, str]]) -> Syntax:
    valid, invalid, unknown = (sum(verdicts[name, it] for name in names) for it in ("valid", "invalid", "unknown"))
    return Syntax(language=label, valid=valid, invalid=invalid, unknown=unknown)
