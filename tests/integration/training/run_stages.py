"""A run of a data path that is written by hand, and trainings of it."""

import json
import os
import signal
from pathlib import Path
from typing import Any

from report.written import BENCHMARKS, DOCUMENTS, Writer, row

from repoloom.engine.plan import Table
from repoloom.engine.pool import LocalPool
from repoloom.engine.reconcile import reconcile
from repoloom.recipe.corpus import Corpus
from repoloom.recipe.model import Recipe
from repoloom.recipe.model_path import Stopped, train_stages
from repoloom.recipe.results import StageName, Trained
from repoloom.recipe.run import Made, RunRecord, datasets_at
from repoloom.recipe.sections import configure, steps
from repoloom.recipe.training_stages import stages_of
from repoloom.store.folder import FolderStore
from repoloom.training.loop import StepReport
from repoloom.training.parallel import SingleProcess

RECIPE = """
name: small
sequence_length: 64
crawl: {sources: [{kind: folder, path: .}]}
tokenize: {vocab_size: 400}
train:
  size: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 2, num_key_value_heads: 1,
         tie_word_embeddings: true}
  batch_size: 4
  micro_batch_size: 2
  threads: 1
  steps: 6
  learning_rate: 0.01
  warmup_steps: 2
  checkpoint_every: 2
extend: {sequence_length: 256, batch_size: 2, steps: 4, threads: 1, checkpoint_every: 2}
instruct:
  sources: [{path: CHAT}]
  system: You answer.
  batch_size: 2
  epochs: 2
  warmup_steps: 1
  learning_rate: 0.001
  threads: 1
  checkpoint_every: 2
evaluate: {holes: 2, max_bytes: 2000}
"""
STOLEN = "def every_second_moon(of, planets, and_, stars, with_, a, telescope, at, night):"


def write_run(folder: Path) -> None:
    """Writes the datasets that training reads to folder/run, conversations, and folder/recipe.yaml."""
    chat = folder / "chat.jsonl"
    rows: list[dict[str, Any]] = [
        {"instruction": f"Add {number}.", "input": "", "output": f"def add(x):\n    return x + {number}\n"}
        for number in range(12)
    ]
    rows.append({"prompt": STOLEN, "completion": "pass"})
    rows.append({"prompt": "Go on.", "completion": "x = 1\n" * 200})
    turns = [("user", "Hi"), ("assistant", "Hello"), ("user", "1 + 1"), ("assistant", "2")]
    rows.append({"messages": [{"role": role, "content": content} for role, content in turns]})
    chat.write_text("".join(json.dumps(one) + "\n" for one in rows))
    (folder / "recipe.yaml").write_text(RECIPE.replace("CHAT", str(chat)))
    recipe, run = Recipe.load(folder / "recipe.yaml"), folder / "run"

    write = Writer(run)
    modules = [Path(json.__file__).with_name(name) for name in ("decoder.py", "encoder.py", "scanner.py", "tool.py")]
    documents = [_document(f"r{number}", module) for number, module in enumerate(modules)]
    stolen = row(BENCHMARKS, benchmark="theirs", item="0", field="prompt", text=STOLEN.encode())
    made = [
        write("decontaminate.benchmarks", {"benchmarks": (BENCHMARKS, [stolen])}),
        write("split.heldout", {"heldout": (DOCUMENTS, documents[:1])}),
        write("split", {"documents": (DOCUMENTS, documents[1:])}),
    ]
    tables = {"documents": Table(made[-1], "documents")}
    with LocalPool(1, recipe.limits) as pool:
        for stage in ("tokenize", "mix", "pack"):
            for step in steps(stage):
                configured = configure(step, recipe.section(stage))
                dataset = reconcile(configured, tables, f"{run}/{step.name}", pool, recipe.engine)
                tables.update({name: Table(dataset, name) for name in step.writes})
                made.append(dataset)
    names = tuple(Made(step=dataset.manifest.step, digest=dataset.digest) for dataset in made)
    RunRecord(recipe=recipe.model_dump(), made=names).write(str(run))


def _document(repo: str, module: Path) -> dict[str, Any]:
    head, content = f"# {module.name}\n".encode(), module.read_bytes()
    span = {"path": module.name, "language": "Python", "blob": "", "sha256": "", "size": len(content), "head": 0}
    span |= {"start": len(head), "end": len(head) + len(content)}
    return row(DOCUMENTS, repo=repo, domain="code", text=head + content, spans=[span])


def corpus_of(run: Path) -> Corpus:
    return Corpus.of({dataset.manifest.step: dataset for dataset in datasets_at(str(run))})


class Seen:
    """A view that counts the steps of each stage, and asks to stop at one of the first of them."""

    def __init__(self, interrupts_at: int | None = None) -> None:
        self.steps: dict[str, int] = {}
        self._stage = ""
        self._interrupts_at = interrupts_at

    def begin(self, stage: StageName, baseline: float) -> None:
        assert baseline > 0
        self._stage = stage

    def step(self, report: StepReport) -> None:
        assert report.steps
        self.steps[self._stage] = self.steps.get(self._stage, 0) + 1
        if (self._stage, report.step) == ("pretrain", self._interrupts_at):
            signal.raise_signal(signal.SIGTERM)


def begin(recipe: Path, run: Path, out: Path, seen: Seen) -> Trained | Stopped:
    """How a training in this process ended."""
    corpus = corpus_of(run)
    stages = stages_of(Recipe.load(recipe), corpus, str(out))
    return train_stages(stages, corpus, str(out), SingleProcess(), seen)


def train(recipe: Path, run: Path, out: Path) -> tuple[Trained, dict[str, int]]:
    """What a training in this process came to, and the steps that each stage took this time."""
    seen = Seen()
    trained = begin(recipe, run, out, seen)
    assert not isinstance(trained, Stopped)
    return trained, seen.steps


def train_and_die(run: Path, out: Path, number: int) -> None:
    """Trains, and has this process killed when it opens an object for writing for the so-manieth time."""
    create, left = FolderStore.create, [number]

    def counting(store: FolderStore, *given: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return create(store, *given)

    FolderStore.create = counting  # type: ignore[method-assign]
    train(run.with_name("recipe.yaml"), run, out)
