"""`make bench`: MB/s and peak memory of each stage and end to end, on 1x, 4x and 16x the data, and training.

One worker, so that MB/s are of one core; MB are of the files that enter the crawl. Every stage runs in a worker process
of its own, so that its peak memory is its own. Prints tables; --json prints the figures.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import corpus
from rich.console import Console
from rich.table import Table

from repoloom.engine.pool import Limits, LocalPool
from repoloom.engine.reconcile import Policy
from repoloom.engine.task import Commit
from repoloom.recipe.run import run_stage
from repoloom.recipe.sections import DATA_PATH, section

MB = 1_000_000
SCALES = (1, 4, 16)
SEQUENCE_LENGTH = 1024
TRAINING_STEPS = 12


def measure(folder: Path, out: Path, sample_bytes: int, task_bytes: int) -> list[dict[str, Any]]:
    """Runs the data path over a folder of repositories; one row a stage: seconds, peak memory, size of what entered."""
    given: dict[str, dict[str, Any]] = {
        "crawl": {"sources": [{"kind": "folder", "path": str(folder), "each": True}]},
        "split": {"fraction": 0.02},
        "tokenize": {"sample_bytes": sample_bytes, "sequence_length": SEQUENCE_LENGTH},
        "pack": {"sequence_length": SEQUENCE_LENGTH},
    }
    tables: dict[str, Any] = {}
    rows = []
    for stage in DATA_PATH:
        model = section(stage).model_validate(given.get(stage, {}))
        values = {name: getattr(model, name) for name in type(model).model_fields}
        began = time.monotonic()
        with LocalPool(1, Limits()) as pool:
            datasets = list(run_stage(stage, values, tables, str(out), pool, Policy(task_bytes=task_bytes)))
        seconds = time.monotonic() - began
        if failures := [failure for dataset in datasets for failure in dataset.manifest.quarantined]:
            sys.exit(f"{stage}: {failures[0].error}")
        commits = [commit for dataset in datasets for commit in _commits(out / dataset.manifest.step)]
        rows.append(
            {
                "stage": stage,
                "seconds": seconds,
                "peak_memory": max(commit.cost.peak_memory for commit in commits),
                "entering": datasets[-1].manifest.ledger.entering.size,
                "kept": datasets[-1].manifest.ledger.total_kept.size,
            }
        )
    return rows


def _commits(dataset: Path) -> list[Commit]:
    return [Commit.model_validate_json(path.read_bytes()) for path in sorted(dataset.glob("tasks/*/commit.json"))]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--largest", type=int, default=224, help="MB of the largest corpus; the others are 1/4 and 1/16 of it"
    )
    parser.add_argument(
        "--task-bytes", type=int, default=64 << 20, help="stored bytes a task; memory is flat beyond it"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--keep", type=Path, help="keep the corpora and datasets in this folder")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    with contextlib.ExitStack() as stack:
        work = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="repoloom-bench-")))
        runs = []
        for scale in SCALES:
            folder = work / f"corpus-{scale}"
            size = corpus.build(folder, arguments.largest * MB * scale // SCALES[-1])
            console.print(f"{scale}x: {size / MB:.0f} MB", highlight=False)
            shutil.rmtree(work / f"out-{scale}", ignore_errors=True)
            runs.append(
                {
                    "scale": scale,
                    "bytes": size,
                    "stages": measure(folder, work / f"out-{scale}", 8 * MB, arguments.task_bytes),
                }
            )
        training = train_tiny(work / f"out-{SCALES[-1]}")
    if arguments.json:
        print(json.dumps({"runs": runs, "training": training}, indent=1))
    else:
        show(runs, training)


def train_tiny(out: Path) -> dict[str, Any]:
    """Tokens a second of a few training steps of the 5M model on all cores; the median, without the first."""
    from repoloom.recipe.corpus import Corpus
    from repoloom.recipe.run import datasets_at
    from repoloom.store import open_store
    from repoloom.training.checkpoint import Checkpoints
    from repoloom.training.config import TrainParams
    from repoloom.training.loop import StepReport, train
    from repoloom.training.parallel import SingleProcess

    steps = ("split.heldout", "tokenize.vocabulary", "tokenize", "pack")
    corpus_made = Corpus.of({step: datasets_at(str(out / step))[0] for step in steps})
    params = TrainParams(
        size="tiny-5M",
        sequence_length=SEQUENCE_LENGTH,
        batch_size=8,
        micro_batch_size=8,
        steps=TRAINING_STEPS,
        learning_rate=0.001,
        warmup_steps=2,
        threads=os.cpu_count() or 1,
    )
    reports: list[StepReport] = []
    outcome = train(
        params,
        corpus_made.training_data(),
        data_digest=corpus_made.packed.digest,
        vocabulary=corpus_made.vocabulary,
        checkpoints=Checkpoints(open_store(str(out)), "train", 1),
        plan=SingleProcess(),
        report=reports.append,
    )
    return {
        "tokens_per_second": statistics.median(report.tokens_per_second for report in reports[1:]),
        "parameters": sum(weight.numel() for weight in outcome.weights.values()),
        "sequence_length": SEQUENCE_LENGTH,
        "cores": os.cpu_count(),
    }


def show(runs: list[dict[str, Any]], training: dict[str, Any]) -> None:
    """Prints the tables."""
    table = Table("stage", title="Data path, one core", title_justify="left")
    for run in runs:
        table.add_column(f"{run['bytes'] / MB:.0f} MB: MB/s", justify="right")
        table.add_column("peak MiB", justify="right")
    for number, stage in enumerate(DATA_PATH):
        cells = []
        for run in runs:
            row = run["stages"][number]
            cells += [f"{run['bytes'] / MB / row['seconds']:.1f}", f"{row['peak_memory'] / 2**20:.0f}"]
        table.add_row(stage, *cells)
    cells = []
    for run in runs:
        cells += [f"{run['bytes'] / MB / sum(row['seconds'] for row in run['stages']):.2f}"]
        cells += [f"{max(row['peak_memory'] for row in run['stages']) / 2**20:.0f}"]
    table.add_row("end to end", *cells, style="bold")
    console = Console(width=120)
    console.print(table)
    console.print(
        f"Training: {training['tokens_per_second']:,.0f} tokens/s on {training['cores']} cores, "
        f"{training['parameters'] / 1e6:.1f} M parameters, sequences of {training['sequence_length']}"
    )


if __name__ == "__main__":
    main()
