"""What the store says of a training, and how far that is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from repoloom.recipe.results import MODEL, Evaluated, StageName, Trained
from repoloom.training.progress import TrainingProgress


@dataclass(frozen=True)
class Output:
    """What the store says of a training, be it the one that is asked for or another that lay there before."""

    progress: TrainingProgress | None = None
    trained: Trained | None = None
    evaluated: Evaluated | None = None
    trouble: str = ""  # why nothing can be said

    def progress_of(self, work: str) -> TrainingProgress | None:
        """The progress of a training that was begun for that work."""
        return self.progress if self.progress and self.progress.work == work else None


def model_of(status: Mapping[str, Any], out: str) -> str:
    """Where the model of a status lies: of trainings of old no copy was kept."""
    return str(status.get("model") or f"{out}/{MODEL}")


Place: TypeAlias = tuple[int, int]
"""How far a training is: in which of its stages, and at which step of it."""


def place_of(progress: Mapping[str, Any] | None) -> Place:
    """The place of a status' progress."""
    stages, stage = [*StageName], (progress or {}).get("stage", "")
    return stages.index(stage) if stage in stages else 0, (progress or {}).get("step", 0)
