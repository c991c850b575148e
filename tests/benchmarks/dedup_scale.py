"""Peak memory and time of each step of deduplication at N, 4N and 16N repositories, with tasks of one size, and recall.

    python tests/benchmarks/dedup_scale.py [--repositories 10000] [--task-bytes 8000000] [--workers 2] [--json]

The repositories are synthetic documents of some 200 words: most are alone, a fifth are in families of edited copies, a
twentieth are copies of one (a bucket as hot as the corpus is large), and a twentieth form one chain of small changes.
Every step has worker processes of its own, so that its peak memory is its own (a bare worker with pyarrow has some 110
MiB). `largest task` is the largest number of stored bytes that one task of the step reads. Recall is of families in
which each repository is a copy of an earlier one with some words changed: those removed here, of those whom the same
greedy rule removes where all pairs are compared.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table as Screen

from repoloom import store as stores
from repoloom.corpus.dataset import MANIFEST, Dataset
from repoloom.corpus.ledger import Ledger
from repoloom.corpus.manifest import Cut, Manifest
from repoloom.corpus.parts import columns_of, write_listing
from repoloom.corpus.tables import DOCUMENTS
from repoloom.corpus.writing import TaskWriter
from repoloom.engine.plan import Plan, Table
from repoloom.engine.pool import Limits, LocalPool
from repoloom.engine.reconcile import Policy, reconcile
from repoloom.engine.task import Commit
from repoloom.stages import dedup
from repoloom.stages.dedup.params import DedupParams
from repoloom.store import open_store

SCALES = (1, 4, 16)
WORDS = 200
PARAMS = DedupParams(sketch=256)  # all shingles fit: similarities are exact
_ROWS = 1000  # documents written at a time
_PART_ROWS = 2000

Words = np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass
class Figures:
    """What was measured of one step at one size."""

    step: str
    tasks: int
    seconds: float
    peak_memory: int
    largest_task: int


def repositories(count: int, seed: int = 0) -> Iterator[tuple[str, Words]]:
    """Names and words, as numbers."""
    draw = np.random.default_rng(seed)
    copied = draw.integers(0, 1 << 30, WORDS)
    chain = draw.integers(0, 1 << 30, WORDS + count // 20 * 4)
    links = copies = number = 0
    while number < count:
        kind = draw.random()
        if kind < 0.05:
            yield f"hot/{copies:08}", copied
            copies += 1
            number += 1
        elif kind < 0.10 and (links + 1) * 4 + WORDS <= len(chain):
            yield f"chain/{links:08}", chain[links * 4 : links * 4 + WORDS]
            links += 1
            number += 1
        elif kind < 0.17:
            original = draw.integers(0, 1 << 30, WORDS)
            for member in range(draw.integers(2, 6)):
                yield f"family/{number:08}-{member}", edited(draw, original, draw.choice([0, 0.003, 0.01, 0.05]))
                number += 1
        else:
            yield f"alone/{number:08}", draw.integers(0, 1 << 30, WORDS)
            number += 1


def edited(draw: np.random.Generator, words: Words, share: float) -> Words:
    """Some of the words changed."""
    return np.where(draw.random(len(words)) < share, draw.integers(0, 1 << 30, len(words)), words)


def write_documents(root: Path, of: Iterator[tuple[str, Words]]) -> Dataset:
    """A dataset of one document and one file a repository."""
    store = open_store(str(root))
    with TaskWriter(store, "tasks/input", {"documents": DOCUMENTS}) as writer:
        held: list[dict[str, Any]] = []
        for number, (repo, words) in enumerate(of, 1):
            held.append(document(repo, b" ".join(b"%x" % word for word in words.tolist())))
            if len(held) == _ROWS:
                writer.write("documents", pa.Table.from_pylist(held, DOCUMENTS))
                held = []
            if number % _PART_ROWS == 0:
                writer.roll("documents")
        writer.write("documents", pa.Table.from_pylist(held, DOCUMENTS))
        listing = write_listing(store, "documents", columns_of(writer.finish()["documents"]))
    manifest = Manifest(
        step="input",
        version=1,
        params={},
        inputs={},
        tables={"documents": listing},
        ledger=Ledger(),
        cut=Cut(task_bytes=1, tasks=1),
    )
    stores.write(store, MANIFEST, manifest.model_dump_json().encode())
    return Dataset(store.uri, manifest)


def document(repo: str, text: bytes) -> dict[str, Any]:
    """A row of DOCUMENTS."""
    span = {"path": "a.py", "language": "Python", "blob": "", "sha256": "", "size": len(text), "head": 0, "start": 0}
    return {
        "repo": repo,
        "revision": "1",
        "document": 0,
        "domain": "code",
        "license": "MIT",
        "text": text,
        "spans": [{**span, "end": len(text)}],
    }


def deduplicate(root: Path, documents: Dataset, task_bytes: int, workers: int) -> tuple[list[Figures], Table]:
    """Runs the chain; returns the figures of each step, and the table of clusters."""
    tables = {"documents": Table(documents, "documents")}
    figures = []
    for step_class in dedup.STEPS:
        step, out = step_class(PARAMS), root / step_class.name
        tasks = list(Plan(step, tables, str(out), task_bytes))
        began = time.monotonic()
        with LocalPool(workers, Limits()) as pool:
            made = reconcile(step, tables, str(out), pool, Policy(task_bytes=task_bytes))
        seconds = time.monotonic() - began
        if made.manifest.quarantined:
            sys.exit(f"{step.name}: {made.manifest.quarantined[0].error}")
        tables |= {name: Table(made, name) for name in step.writes}
        commits = [Commit.model_validate_json(path.read_bytes()) for path in out.glob("tasks/*/commit.json")]
        figures.append(
            Figures(
                step=step.name,
                tasks=len(tasks),
                seconds=seconds,
                peak_memory=max((commit.cost.peak_memory for commit in commits), default=0),
                largest_task=max(
                    (sum(part.bytes for parts in shares.values() for part in parts) for shares in tasks), default=0
                ),
            )
        )
    return figures, tables["clusters"]


def recall(work: Path, count: int, task_bytes: int) -> dict[str, float]:
    """The share of brute force's removals that is found, for families of copies of copies of several loosenesses."""
    found = {}
    for looseness in (0.002, 0.005, 0.01, 0.02):
        draw = np.random.default_rng(1)
        family = [draw.integers(0, 1 << 30, WORDS)]
        while len(family) < count:
            family.append(edited(draw, family[draw.integers(0, len(family))], looseness))
        root = work / f"recall-{looseness}"
        documents = write_documents(root / "input", ((f"f/{n:06}", words) for n, words in enumerate(family)))
        _, clusters = deduplicate(root, documents, task_bytes, 1)
        removed = sum(
            row["repo"] != row["survivor"]
            for batch in clusters.dataset.batches("clusters")
            for row in batch.to_pylist()
        )
        found[str(looseness)] = removed / removed_by_brute_force(family)
    return found


def removed_by_brute_force(family: list[Words]) -> int:
    """How many the greedy rule removes of all pairs. All are equally long, so the order of names is the preference."""
    sets = [{words[i : i + 5].tobytes() for i in range(len(words) - 4)} for words in family]
    survivors: list[set[bytes]] = []
    for mine in sets:
        if not any(len(mine & its) >= PARAMS.threshold * len(mine | its) for its in survivors):
            survivors.append(mine)
    return len(sets) - len(survivors)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repositories", type=int, default=10_000, help="N; also measured are 4N and 16N")
    parser.add_argument("--task-bytes", type=int, default=8_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--family", type=int, default=1500, help="repositories that recall is measured on")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    runs = {}
    for scale in SCALES:
        with tempfile.TemporaryDirectory(prefix="repoloom-dedup-") as work:
            count = options.repositories * scale
            documents = write_documents(Path(work, "input"), repositories(count))
            runs[count], _ = deduplicate(Path(work), documents, options.task_bytes, options.workers)
    with tempfile.TemporaryDirectory(prefix="repoloom-dedup-") as work:
        found = recall(Path(work), options.family, options.task_bytes)
    if options.json:
        figures = {str(count): [asdict(one) for one in of] for count, of in runs.items()}
        print(json.dumps({"runs": figures, "recall": found}, indent=1))
    else:
        show(runs, found)


def show(runs: dict[int, list[Figures]], found: dict[str, float]) -> None:
    """Prints the tables."""
    screen = Screen("step")
    for count in runs:
        screen.add_column(f"{count:,}: tasks", justify="right")
        for title in ("seconds", "peak MiB", "largest task, MB"):
            screen.add_column(title, justify="right")
    for of in zip(*runs.values(), strict=True):
        cells: list[str] = []
        for one in of:
            cells += [str(one.tasks), f"{one.seconds:.1f}"]
            cells += [f"{one.peak_memory / 2**20:.0f}", f"{one.largest_task / 1e6:.1f}"]
        screen.add_row(of[0].step.removeprefix("dedup."), *cells)
    console = Console(width=150)
    console.print(screen)
    for looseness, share in found.items():
        console.print(f"recall, copies of copies with {float(looseness):.1%} of the words changed: {share:.4f}")


if __name__ == "__main__":
    main()
