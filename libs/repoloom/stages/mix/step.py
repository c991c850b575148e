"""The mixture: for each domain a threshold on the pieces' draws, so that the taken tokens have the wanted shares.

A piece is taken if its draw (uniform, fixed when it was encoded) lies below its domain's threshold. The thresholds come
from histograms of the draws, so the step's memory is a few hundred kilobytes a domain, whatever the corpus.
"""

from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, field_validator

from repoloom.engine.step import Params, Reader, Shares, Sink, Step
from repoloom.errors import InputError

MIXTURE = pa.schema(
    [
        pa.field("domain", pa.string(), nullable=False),
        pa.field("weight", pa.float64(), nullable=False),  # wanted share, of the domains that are there
        pa.field("available", pa.int64(), nullable=False),  # tokens
        pa.field("taken", pa.int64(), nullable=False),  # tokens
        pa.field("threshold", pa.int64(), nullable=False),  # pieces whose draw is below it are taken
    ]
)

_BIN_BITS = 16  # draws are 32 bits; a bin of the histogram is 1/65536 of a domain
_BINS = 1 << _BIN_BITS


class MixParams(Params):
    """The wanted shares."""

    weights: dict[str, float] | None = Field(
        default=None,
        description="Domain: share of the tokens; the paper's are code 0.87, english 0.10, chinese 0.03 "
        "(arXiv 2401.14196 section 2). Domains that the corpus lacks are left out, the rest scaled up. "
        "Absent: everything is taken.",
    )
    tokens: int | None = Field(
        default=None, gt=0, description="Take so many tokens in all; as many as the shares allow if absent."
    )

    @field_validator("weights")
    @classmethod
    def _positive(cls, weights: dict[str, float] | None) -> dict[str, float] | None:
        if weights is not None and (not weights or min(weights.values()) <= 0):
            raise ValueError("every weight must be above 0; leave out a domain to drop it")
        return weights


class Mix(Step[MixParams]):
    """One task: it reads three small columns of the pieces and writes a row a domain."""

    name = "mix"
    reads = ("pieces",)
    writes: ClassVar = {"mixture": MIXTURE}

    def plan(self, tables: Shares, task_bytes: int) -> Iterable[Shares]:  # noqa: ARG002 - always one task
        yield {"pieces": tables["pieces"]}

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        histograms: dict[str, NDArray[np.float64]] = {}
        for batch in inputs["pieces"].batches(["domain", "draw", "size"]):
            bins = batch["draw"].to_numpy() >> (32 - _BIN_BITS)
            sizes = batch["size"].to_numpy()
            for domain in batch["domain"].unique().to_pylist():
                mine = np.asarray(batch["domain"]) == domain
                histogram = histograms.setdefault(domain, np.zeros(_BINS))
                histogram += np.bincount(bins[mine], weights=sizes[mine], minlength=_BINS)
        out.write("mixture", pa.RecordBatch.from_pylist(mixture(histograms, self.params), schema=MIXTURE))


def mixture(histograms: Mapping[str, NDArray[np.float64]], params: MixParams) -> list[dict[str, object]]:
    """The rows of MIXTURE, from each domain's tokens by bin of the draw. Raises InputError if none can be taken."""
    available = {domain: int(histogram.sum()) for domain, histogram in sorted(histograms.items())}
    if not available:
        return []
    wanted = available if params.weights is None else params.weights
    weights = {domain: weight for domain, weight in sorted(wanted.items()) if available.get(domain)}
    if not weights:
        raise InputError(
            f"mix: none of the wanted domains {sorted(wanted)} is in the corpus, which has {list(available)}"
        )
    scale = sum(weights.values())
    total = min(available[domain] / (weight / scale) for domain, weight in weights.items())
    if params.tokens is not None:
        total = min(total, params.tokens)
    rows: list[dict[str, object]] = []
    for domain in available:
        weight = weights.get(domain, 0.0) / scale
        sums = np.cumsum(histograms[domain])
        bins = int(np.searchsorted(sums, total * weight * (1 - 1e-12), side="left")) + 1 if weight else 0
        rows.append(
            {
                "domain": domain,
                "weight": weight,
                "available": available[domain],
                "taken": int(sums[min(bins, _BINS) - 1]) if bins else 0,
                "threshold": min(bins, _BINS) << (32 - _BIN_BITS),
            }
        )
    return rows
