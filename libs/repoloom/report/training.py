"""Training: the curves of a run, thinned to what a picture can show."""

from collections.abc import Sequence

from repoloom.corpus.manifest import Record
from repoloom.report.limits import Limits
from repoloom.report.tokens import Packing


class TrainingStep(Record):
    """What one step did."""

    step: int  # from 1
    loss: float  # nats per target token
    learning_rate: float
    gradient_norm: float  # before it was clipped
    tokens_per_second: float
    samples_consumed: int


class TrainingStage(Record):
    """What a stage of a training came to."""

    stage: str
    steps: int
    tokens: int  # read, padding included
    unigram_loss: float  # nats per token that the frequencies of the tokens alone reach
    final_loss: float
    seconds: float
    conversations: int | None  # that it read; None where it read the corpus
    left_out: int | None  # conversations that it did not


class TrainingRecord(Record):
    """A training, its first stage step by step as its log has it."""

    parameters: int  # of the model
    unigram_loss: float  # nats per token that the frequencies of the tokens alone reach
    steps: tuple[TrainingStep, ...]
    seconds: float
    stages: tuple[TrainingStage, ...] = ()


class Training(Record):
    """A training as the page shows it: its first stage, and what the others came to."""

    parameters: int
    unigram_loss: float
    steps: int
    sequences: int  # read
    tokens: int  # in as many sequences on average: padding is none
    epochs: float  # passes over the packed sequences; below 1 the share of them that was read
    seconds: float
    first_loss: float
    last_loss: float  # smoothed
    tokens_per_second: float  # median
    points: tuple[TrainingStep, ...]  # means over equal stretches of steps
    smooth_loss: tuple[float, ...]  # at the points
    stages: tuple[TrainingStage, ...]  # where there is more than the one that the rest tells of


def training(record: TrainingRecord | None, packing: Packing | None, limits: Limits) -> Training | None:
    """The run on these sequences with at most `limits.points` points; None where no step was done."""
    if record is None or packing is None or not record.steps:
        return None
    sequences = record.steps[-1].samples_consumed
    points = tuple(thin(record.steps, limits.points))
    smooth = smoothed([point.loss for point in points])
    speeds = sorted(step.tokens_per_second for step in record.steps)
    return Training(
        parameters=record.parameters,
        unigram_loss=record.unigram_loss,
        steps=record.steps[-1].step,
        sequences=sequences,
        tokens=sequences * packing.tokens // packing.sequences,
        epochs=sequences / packing.sequences,
        seconds=record.seconds,
        first_loss=record.steps[0].loss,
        last_loss=smooth[-1],
        tokens_per_second=speeds[len(speeds) // 2],
        points=points,
        smooth_loss=smooth,
        stages=record.stages if len(record.stages) > 1 else (),
    )


def thin(steps: Sequence[TrainingStep], most: int) -> list[TrainingStep]:
    """At most so many points: each the mean of a stretch of steps, at the stretch's last step."""
    stretch = -(-len(steps) // most)
    return [_mean(steps[start : start + stretch]) for start in range(0, len(steps), stretch)]


def _mean(steps: Sequence[TrainingStep]) -> TrainingStep:
    means = {
        name: sum(getattr(step, name) for step in steps) / len(steps)
        for name in ("loss", "learning_rate", "gradient_norm", "tokens_per_second")
    }
    return steps[-1].model_copy(update=means)


def smoothed(values: Sequence[float]) -> tuple[float, ...]:
    """The mean of each value and those around it: a fortieth of all to either side, near the steep beginning fewer."""
    reach = len(values) // 40
    windows = (values[max(0, place - reach) : place + min(reach, place) + 1] for place in range(len(values)))
    return tuple(sum(window) / len(window) for window in windows)
