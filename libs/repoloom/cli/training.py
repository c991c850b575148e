"""How training and evaluation look on a terminal: the loss beside the unigram baseline, tokens/s, time left."""

import time
from pathlib import Path
from types import TracebackType

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from repoloom.cli.output import STOPPED, safe
from repoloom.corpus.dataset import Dataset
from repoloom.evaluation.result import Evaluation, Sample
from repoloom.recipe.model import Recipe
from repoloom.recipe.model_path import Corpus, Trained, evaluate_model, train_model
from repoloom.text import visible
from repoloom.training.loop import StepReport


def finish(recipe: Recipe, datasets: dict[str, Dataset], out: Path, console: Console) -> None:
    """The part of a run after its data path: train, export, evaluate, and show a completion of a real hole."""
    assert recipe.train is not None
    corpus = Corpus.of(datasets)
    with TrainingView(console) as view:
        trained = train_model(recipe.train, corpus, out, view.begin, view.step)
    if trained is None:
        console.print("stopped; the same command goes on from the checkpoint", highlight=False)
        raise typer.Exit(STOPPED)
    show_trained(trained, out, console)
    with console.status("evaluating on held-out repositories"):
        evaluation = evaluate_model(recipe.evaluate, trained, recipe.train.seed, corpus, out)
    show_evaluation(evaluation, console)


class TrainingView:
    """One live line; in a log, a line at every tenth of the run."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._baseline = 0.0
        self._printed = time.monotonic()
        self._progress = Progress(
            TextColumn("  train"),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._row = self._progress.add_task("starting")

    def __enter__(self) -> "TrainingView":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, baseline: float) -> None:
        """Takes the unigram baseline, in nats a token."""
        self._baseline = baseline

    def step(self, report: StepReport) -> None:
        """Moves the line."""
        words = (
            f"step {report.step}/{report.steps}  loss {report.loss:.3f} (unigram {self._baseline:.3f})  "
            f"{report.tokens_per_second:,.0f} tokens/s"
        )
        self._progress.update(self._row, total=report.steps, completed=report.step, description=words)
        if not self._console.is_terminal and (report.step == 1 or report.step % max(1, report.steps // 10) == 0):
            self._console.print(f"  train  {words}", highlight=False, soft_wrap=True)


def show_trained(trained: Trained, out: Path, console: Console) -> None:
    """The line that stays."""
    console.print(
        f"[green]✓[/] {'train':<22} {trained.parameters / 1e6:.1f} M parameters, {trained.steps} steps, "
        f"loss {trained.final_loss:.3f} (unigram {trained.unigram_loss:.3f} nats/token)  {trained.seconds:.1f} s",
        highlight=False,
        soft_wrap=True,
    )
    console.print(Text.assemble(("✓", "green"), safe(f" {'export':<22} {out / 'model'}")), soft_wrap=True)


def show_evaluation(evaluation: Evaluation, console: Console) -> None:
    """The scores by language, the trained model beside the untrained one, and one hole filled."""
    table = Table("language", box=None, header_style="bold", pad_edge=False)
    for column in ("bytes", "bits/byte", "holes", "exact match", "edit similarity"):
        table.add_column(column, justify="right")
    for row in (*evaluation.languages, evaluation.overall):
        table.add_row(
            row.name or "all",
            f"{row.bytes:,}",
            _beside(row.trained.bits_per_byte, row.untrained.bits_per_byte, ".2f"),
            str(row.holes),
            _beside(row.trained.exact_match, row.untrained.exact_match, ".1%"),
            _beside(row.trained.edit_similarity, row.untrained.edit_similarity, ".2f"),
            style="" if row.name else "bold",
        )
    console.print("\nOn held-out repositories, trained / untrained:", highlight=False)
    console.print(table)
    if evaluation.samples:
        show_sample(best_sample(evaluation), console)


def best_sample(evaluation: Evaluation) -> Sample:
    """The longest line that was filled exactly, else the first that was tried."""
    exact = [sample for sample in evaluation.samples if sample.exact]
    return max(exact, key=lambda sample: len(sample.truth.strip())) if exact else evaluation.samples[0]


def show_sample(sample: Sample, console: Console) -> None:
    """A hole in its place: what stands around it, what the model wrote, what had stood there."""
    ending = "exactly what had stood there" if sample.exact else f"there had stood: {sample.truth.strip()}"
    text = Text.assemble(
        "\n",
        safe(f"a hole in {sample.repo} {sample.path}:", "bold"),
        "\n",
        (visible("".join(sample.prefix.splitlines(keepends=True)[-4:])), "dim"),
        (visible(sample.written.strip("\n")) or "(only line breaks)", "green" if sample.exact else "yellow"),
        (visible("\n".join(sample.suffix.split("\n")[:4])), "dim"),
        "\n",
        safe(ending),
    )
    console.print(text)


def _beside(trained: float | None, untrained: float | None, form: str) -> str:
    return " / ".join("–" if value is None else format(value, form) for value in (trained, untrained))
