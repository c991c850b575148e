"""The parameters of a training run; its defaults are the paper's."""

from typing import Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator
from pydantic_core import PydanticKnownError

from repoloom.engine.step import Params
from repoloom.training.sizes import SIZES, Architecture


class TrainParams(Params):
    """What decides the trained weights, and how often they are saved."""

    size: str | Architecture = Field(
        description=f"The model: {', '.join(SIZES)}, or the dimensions: {', '.join(Architecture.model_fields)}."
    )
    sequence_length: PositiveInt = Field(default=4096, description="Tokens of a training sequence.")
    batch_size: PositiveInt = Field(description="Sequences a step, over all ranks.")
    micro_batch_size: PositiveInt = Field(description="Sequences at a time on one rank; divides batch_size.")
    steps: PositiveInt | None = Field(default=None, description="How long to train; give this or epochs.")
    epochs: PositiveInt | None = Field(default=None, description="Passes over the sequences; give this or steps.")
    learning_rate: PositiveFloat = Field(description="The peak, reached when the warm-up ends.")
    warmup_steps: NonNegativeInt = Field(
        default=2000, description="Steps in which the learning rate rises (arXiv 2401.14196 section 3.3)."
    )
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

    @field_validator("size")
    @classmethod
    def _is_known(cls, size: str | Architecture) -> str | Architecture:
        if isinstance(size, str) and size not in SIZES:
            raise PydanticKnownError("literal_error", {"expected": ", ".join(map(repr, SIZES))})
        return size

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs")
        if self.steps is not None and self.warmup_steps >= self.steps:
            raise ValueError(
                f"warmup_steps {self.warmup_steps} leave none of the {self.steps} steps at the full learning rate"
            )
        if self.batch_size % self.micro_batch_size:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of micro_batch_size {self.micro_batch_size}")
        return self

    def architecture(self, tokens: int) -> Architecture:
        """The model's dimensions for a tokenizer of that many tokens."""
        size = SIZES[self.size] if isinstance(self.size, str) else self.size
        return size.trained_with(tokens, self.sequence_length)

    def total_steps(self, sequences: int) -> int:
        """The steps of a run over that many sequences; epochs are rounded up to whole steps."""
        return self.steps if self.steps is not None else -(-(self.epochs or 1) * sequences // self.batch_size)
