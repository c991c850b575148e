"""The parameters of the stages of a training; their defaults are the paper's."""

from typing import Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator
from pydantic_core import PydanticKnownError

from repoloom.engine.step import Params
from repoloom.prompts.chat import SYSTEM
from repoloom.training.schedule import LAST, Schedule, learning_rate
from repoloom.training.sizes import SIZES, Architecture


class StageParams(Params):
    """What every stage has: how its steps are taken, and how often they are saved."""

    batch_size: PositiveInt = Field(description="Sequences a step, over all ranks.")
    micro_batch_size: PositiveInt = Field(description="Sequences at a time on one rank; divides batch_size.")
    betas: tuple[float, float] = Field(default=(0.9, 0.95), description="Of AdamW (arXiv 2401.14196 section 3.3).")
    weight_decay: float = Field(
        default=0.1, ge=0, description="Of AdamW, on matrices alone (arXiv 2401.02954 section 2.3)."
    )
    gradient_clip: PositiveFloat = Field(
        default=1.0, description="Norm to which the gradient is clipped (arXiv 2401.02954 section 2.3)."
    )
    seed: int = Field(default=0, ge=0, lt=1 << 63, description="Draws the first weights and the sequences' order.")
    threads: PositiveInt = Field(default=2, description="Of a run on a CPU, where sums depend on it.")
    checkpoint_every: PositiveInt = Field(default=1000, description="Steps between two checkpoints.")
    keep: PositiveInt = Field(default=2, description="Checkpoints that are kept, the newest.")

    @model_validator(mode="after")
    def _batches_divide(self) -> Self:
        if self.batch_size % self.micro_batch_size:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of micro_batch_size {self.micro_batch_size}")
        return self


class _Long(StageParams):
    """A stage that is as long as it is told, in steps or in epochs."""

    steps: PositiveInt | None = Field(default=None, description="How long to train; give this or epochs.")
    epochs: PositiveInt | None = Field(default=None, description="Passes over the sequences; give this or steps.")
    warmup_steps: NonNegativeInt

    @model_validator(mode="after")
    def _has_one_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs")
        if self.steps is not None:
            check_warmup(self.warmup_steps, self.steps)
        return self

    def total_steps(self, sequences: int) -> int:
        """The steps of a run over that many sequences; epochs are rounded up to whole steps."""
        return self.steps if self.steps is not None else -(-(self.epochs or 1) * sequences // self.batch_size)


def check_warmup(warmup_steps: int, steps: int) -> None:
    """Raises ValueError where the learning rate never comes to its peak."""
    if warmup_steps >= steps:
        raise ValueError(f"warmup_steps {warmup_steps} leave none of the {steps} steps at the full learning rate")


class TrainParams(_Long):
    """Pretraining: what decides the trained weights."""

    size: str | Architecture = Field(
        description=f"The model: {', '.join(SIZES)}, or the dimensions: {', '.join(Architecture.model_fields)}."
    )
    sequence_length: PositiveInt = Field(default=4096, description="Tokens of a training sequence.")
    learning_rate: PositiveFloat = Field(description="The peak, reached when the warm-up ends.")
    warmup_steps: NonNegativeInt = Field(
        default=2000, description="Steps in which the learning rate rises (arXiv 2401.14196 section 3.3)."
    )

    @field_validator("size")
    @classmethod
    def _is_known(cls, size: str | Architecture) -> str | Architecture:
        if isinstance(size, str) and size not in SIZES:
            raise PydanticKnownError("literal_error", {"expected": ", ".join(map(repr, SIZES))})
        return size

    def architecture(self, tokens: int) -> Architecture:
        """The model's dimensions for a tokenizer of that many tokens."""
        size = SIZES[self.size] if isinstance(self.size, str) else self.size
        return size.trained_with(tokens, self.sequence_length)

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of the step after `step` others, of `steps` in all."""
        return learning_rate(step, steps, self.warmup_steps, self.learning_rate)


class ExtendParams(StageParams):
    """Context extension: the pretrained model goes on with longer sequences (arXiv 2401.14196, "Long Context")."""

    batch_size: PositiveInt = Field(default=512, description="Sequences a step, over all ranks.")
    micro_batch_size: PositiveInt = Field(default=1, description="Sequences at a time on one rank; divides batch_size.")
    sequence_length: int = Field(
        default=16_384, ge=16, le=1 << 16, description="Tokens of a sequence, and the model's positions from then on."
    )
    rope_theta: PositiveFloat = Field(default=100_000.0, description="Base of the rotary embedding; was 10,000.")
    rope_scaling_factor: float = Field(
        default=4.0, ge=1, description="What positions are divided by (linear scaling, arXiv 2306.15595); was 1."
    )
    steps: PositiveInt = Field(default=1000, description="How long to train.")
    learning_rate: PositiveFloat | None = Field(
        default=None, description="The rate of every step; by default the one that pretraining ends with."
    )

    def goes_on(self, train: TrainParams, base: str, architecture: Architecture) -> "GoesOnParams":
        """The run that extends the model of a pretraining, whose weights have the SHA-256 `base`."""
        return GoesOnParams(
            **self.model_dump(include=set(StageParams.model_fields)),
            base=base,
            size=architecture.extended(self.sequence_length, self.rope_theta, self.rope_scaling_factor),
            sequence_length=self.sequence_length,
            steps=self.steps,
            learning_rate=self.learning_rate or train.learning_rate * LAST,
            warmup_steps=0,
            schedule=Schedule.CONSTANT,
        )


class InstructSource(Params):
    """A file of conversations, one JSON object a line."""

    path: str = Field(min_length=1, description="A file's path, or s3://bucket/key.")
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$", description="Of the file, where it is pinned.")


class InstructParams(_Long):
    """Instruction tuning: the model learns to answer (arXiv 2401.14196, "Instruction Tuning")."""

    sources: tuple[InstructSource, ...] = Field(min_length=1, description="Files of conversations, JSONL.")
    system: str = Field(
        default=SYSTEM, min_length=1, max_length=1 << 14, description="Begins a conversation that says nothing else."
    )
    batch_size: PositiveInt = Field(
        default=256, description="Sequences a step, over all ranks: with 16,384 tokens each the paper's 4M tokens."
    )
    micro_batch_size: PositiveInt = Field(default=1, description="Sequences at a time on one rank; divides batch_size.")
    sequence_length: PositiveInt | None = Field(
        default=None, ge=16, description="Tokens of a sequence; by default as many as the model reads."
    )
    learning_rate: PositiveFloat = Field(default=1e-5, description="The peak; it falls with a cosine.")
    warmup_steps: NonNegativeInt = Field(default=100, description="Steps in which the learning rate rises.")

    def goes_on(self, base: str, architecture: Architecture) -> "GoesOnParams":
        """The run that tunes a model, whose weights have the SHA-256 `base`."""
        return GoesOnParams(
            **self.model_dump(include={*_Long.model_fields, "learning_rate"}),
            base=base,
            size=architecture,
            sequence_length=self.sequence_length or architecture.max_position_embeddings,
            schedule=Schedule.COSINE,
        )


class GoesOnParams(TrainParams):
    """A run that begins with the weights of another: no section of a recipe, but what one comes to."""

    base: str  # SHA-256 of the weights
    size: Architecture  # of the model, as it is trained
    schedule: Schedule

    def architecture(self, tokens: int) -> Architecture:  # noqa: ARG002 - the model has met its tokenizer
        return self.size

    def rate(self, step: int, steps: int) -> float:
        return learning_rate(step, steps, self.warmup_steps, self.learning_rate, self.schedule)
