"""Model sizes: the released DeepSeek-Coder ones (arXiv 2401.14196 table 2 and their config.json), and tiny ones.

The rotary embedding is as pretraining has it (arXiv 2401.14196, "Long Context"); the released configurations are those
of models whose context was extended.
"""

from collections.abc import Mapping
from typing import Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from repoloom.engine.step import Params

VOCABULARY_MULTIPLE = 256  # the released vocabulary of 32,022 has an embedding of 32,256 rows


class Architecture(Params):
    """The dimensions of a Llama, named as Hugging Face's `LlamaConfig` names them."""

    hidden_size: PositiveInt
    intermediate_size: PositiveInt
    num_hidden_layers: PositiveInt
    num_attention_heads: PositiveInt
    num_key_value_heads: PositiveInt  # fewer than attention heads: grouped-query attention; 1: multi-query attention
    vocab_size: PositiveInt = 32256
    max_position_embeddings: PositiveInt = 16384
    rope_theta: PositiveFloat = 10_000.0
    rope_linear_factor: float = Field(default=1.0, ge=1)  # positions are divided by it
    rms_norm_eps: PositiveFloat = 1e-6
    initializer_range: PositiveFloat = 0.02
    tie_word_embeddings: bool = False

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden_size % (2 * self.num_attention_heads):
            raise ValueError(f"hidden_size {self.hidden_size} gives {self.num_attention_heads} heads no even width")
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(f"{self.num_key_value_heads} key-value heads do not divide {self.num_attention_heads}")
        return self

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads

    @property
    def parameters(self) -> int:
        """How many numbers a model of these dimensions learns."""
        hidden, shared = self.hidden_size, self.num_key_value_heads * self.head_dim
        layer = 2 * hidden * hidden + 2 * hidden * shared + 3 * hidden * self.intermediate_size + 2 * hidden
        embeddings = (1 if self.tie_word_embeddings else 2) * self.vocab_size * hidden
        return embeddings + self.num_hidden_layers * layer + hidden

    def training_operations(self, tokens: int, pairs: int) -> int:
        """Operations that training on so many tokens takes, of which `pairs` see each other or themselves.

        6 for each token and parameter, and 12 for each pair, layer and component of the hidden state (arXiv 2204.02311,
        appendix B, where every token sees all of its sequence). An embedding that is no output head besides is looked
        up, which is no operation.
        """
        looked_up = 0 if self.tie_word_embeddings else self.vocab_size * self.hidden_size
        return 6 * (self.parameters - looked_up) * tokens + 12 * self.num_hidden_layers * self.hidden_size * pairs

    def trained_with(self, tokens: int, sequence_length: int) -> Self:
        """The same dimensions for a tokenizer of that many tokens and sequences of that length."""
        rows = -(-tokens // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE
        return self.model_copy(update={"vocab_size": rows, "max_position_embeddings": sequence_length})

    def extended(self, sequence_length: int, rope_theta: float, rope_linear_factor: float) -> Self:
        """The same dimensions with more positions, and another rotary embedding to tell them apart."""
        return self.model_copy(
            update={
                "max_position_embeddings": sequence_length,
                "rope_theta": rope_theta,
                "rope_linear_factor": rope_linear_factor,
            }
        )


def _tiny(hidden: int, intermediate: int, layers: int, heads: int, key_value_heads: int) -> Architecture:
    return Architecture(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_value_heads,
        vocab_size=4096,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )


SIZES: Mapping[str, Architecture] = {
    "tiny-1M": _tiny(128, 352, 4, 4, 2),
    "tiny-5M": _tiny(256, 704, 5, 4, 2),
    "1.3B": Architecture(
        hidden_size=2048,
        intermediate_size=5504,
        num_hidden_layers=24,
        num_attention_heads=16,
        num_key_value_heads=16,
    ),
    "5.7B-MQA": Architecture(
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=1,
    ),
    "6.7B": Architecture(
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
    ),
    "33B": Architecture(
        hidden_size=7168,
        intermediate_size=19200,
        num_hidden_layers=62,
        num_attention_heads=56,
        num_key_value_heads=8,
    ),
}
