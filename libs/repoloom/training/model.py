"""A Llama, its parameters named and shaped as Hugging Face's `LlamaForCausalLM` names and shapes them."""

from collections.abc import Iterator, Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from repoloom.training.attention import Visible, attend
from repoloom.training.sizes import Architecture

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines, (batch, 1, sequence, head_dim) each."""


class LayerCache:
    """The keys and values of one layer that generation has seen: (batch, key_value_heads, capacity, head_dim)."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self._keys, self._values, self._length = keys, values, 0

    def extend(self, keys: Tensor, values: Tensor) -> Rotation:
        """Appends (batch, key_value_heads, sequence, head_dim) and gives everything so far."""
        end = self._length + keys.shape[2]
        self._keys[:, :, self._length : end] = keys
        self._values[:, :, self._length : end] = values
        self._length = end
        return self._keys[:, :, :end], self._values[:, :, :end]


class Attention(nn.Module):
    """Rotary, grouped-query self-attention (arXiv 2305.13245)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.head_dim = architecture.head_dim
        hidden, shared = architecture.hidden_size, architecture.num_key_value_heads * architecture.head_dim
        self.q_proj = nn.Linear(hidden, hidden, bias=False)
        self.k_proj = nn.Linear(hidden, shared, bias=False)
        self.v_proj = nn.Linear(hidden, shared, bias=False)
        self.o_proj = nn.Linear(hidden, hidden, bias=False)

    def forward(self, x: Tensor, rotation: Rotation, visible: Visible, cache: LayerCache | None) -> Tensor:
        query, key, value = (
            projection(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # (batch, its heads, sequence, head_dim)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = rotate(query, rotation), rotate(key, rotation)
        if cache is not None:
            key, value = cache.extend(key, value)
        return self.o_proj(attend(query, key, value, visible).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """SwiGLU (arXiv 2002.05202)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        hidden, intermediate = architecture.hidden_size, architecture.intermediate_size
        self.gate_proj = nn.Linear(hidden, intermediate, bias=False)
        self.up_proj = nn.Linear(hidden, intermediate, bias=False)
        self.down_proj = nn.Linear(intermediate, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Attention, then the feed-forward, each on the normalised stream and added to it."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(architecture.hidden_size, architecture.rms_norm_eps)
        self.self_attn = Attention(architecture)
        self.post_attention_layernorm = nn.RMSNorm(architecture.hidden_size, architecture.rms_norm_eps)
        self.mlp = FeedForward(architecture)

    def forward(self, x: Tensor, rotation: Rotation, visible: Visible, cache: LayerCache | None) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), rotation, visible, cache)
        return x + self.mlp(self.post_attention_layernorm(x))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Tokens to hidden states."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        # Not initialised: on the meta device that would import torch's compiler, which takes seconds.
        empty = torch.empty(architecture.vocab_size, architecture.hidden_size)
        self.embed_tokens = nn.Embedding.from_pretrained(empty, freeze=False)  # type: ignore[no-untyped-call]
        self.layers = nn.ModuleList(Layer(architecture) for _ in range(architecture.num_hidden_layers))
        self.norm = nn.RMSNorm(architecture.hidden_size, architecture.rms_norm_eps)


class Llama(nn.Module):
    """The decoder and its output head; `state_dict()` is what `LlamaForCausalLM.load_state_dict` takes."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.model = Decoder(architecture)
        if not architecture.tie_word_embeddings:
            self.lm_head = nn.Linear(architecture.hidden_size, architecture.vocab_size, bias=False)

    @classmethod
    def without_weights(cls, architecture: Architecture) -> Self:
        """A model whose parameters have shapes and no memory: they are on the meta device."""
        with torch.device("meta"):
            return cls(architecture)

    @classmethod
    def of(cls, architecture: Architecture, weights: Mapping[str, Tensor]) -> Self:
        """A model that has these very tensors as weights, by name. Raises RuntimeError where they do not fit."""
        model = cls.without_weights(architecture)
        model.load_state_dict(weights, assign=True)
        return model

    @property
    def output_weight(self) -> Tensor:
        """(vocab, hidden): the embedding itself where the two are tied."""
        tied = self.architecture.tie_word_embeddings
        return self.model.embed_tokens.weight if tied else self.lm_head.weight

    def forward(
        self, tokens: Tensor, positions: Tensor, visible: Visible, cache: list[LayerCache] | None = None
    ) -> Tensor:
        """The hidden states (batch, sequence, hidden) of tokens (batch, sequence) at positions of the same shape.

        With a cache, the sequence follows what it holds, and is appended to it.
        """
        x = self.model.embed_tokens(tokens)
        rotation = rotation_at(positions, self.architecture, x.dtype)
        for number, layer in enumerate(self.model.layers):
            x = layer(x, rotation, visible, None if cache is None else cache[number])
        return self.model.norm(x)  # type: ignore[no-any-return]

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states (..., hidden) -> (..., vocab)."""
        return functional.linear(hidden, self.output_weight)

    def first_weights(self, seed: int) -> Iterator[Tensor]:
        """Normal weights of the architecture's range, norms of one, parameter by parameter; made on the CPU.

        A pure function of shapes and seed.
        """
        generator = torch.Generator().manual_seed(seed)
        for shape in [parameter.shape for parameter in self.parameters()]:
            if len(shape) == 1:
                yield torch.ones(shape)
            else:
                yield torch.empty(shape).normal_(0.0, self.architecture.initializer_range, generator=generator)

    def new_cache(self, batch: int, capacity: int) -> list[LayerCache]:
        """Empty caches for every layer, for `capacity` tokens in all."""
        shape = (batch, self.architecture.num_key_value_heads, capacity, self.architecture.head_dim)
        weight = self.output_weight
        return [LayerCache(weight.new_empty(shape), weight.new_empty(shape)) for _ in self.model.layers]


def rotation_at(positions: Tensor, architecture: Architecture, dtype: torch.dtype) -> Rotation:
    """The rotary embedding's cosines and sines (arXiv 2104.09864) at positions (batch, sequence), linearly scaled."""
    exponents = torch.arange(0, architecture.head_dim, 2, dtype=torch.float32, device=positions.device)
    frequencies = architecture.rope_theta ** -(exponents / architecture.head_dim) / architecture.rope_linear_factor
    angles = positions[:, None, :, None].float() * frequencies  # (batch, 1, sequence, head_dim / 2)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Rotates (batch, heads, sequence, head_dim); component i is paired with i + head_dim / 2, as Hugging Face does."""
    cosines, sines = rotation
    one, other = x.chunk(2, dim=-1)
    return x * cosines + torch.cat((-other, one), dim=-1) * sines
