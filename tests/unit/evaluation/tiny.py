"""A tiny model with a tokenizer of its own, fresh from its seed."""

from repoloom.inference.text import TextCodec
from repoloom.stages.tokenize.vocabulary import train as train_tokenizer
from repoloom.training.loop import new_model
from repoloom.training.model import Llama
from repoloom.training.sizes import Architecture


def tiny_codec(text: str, size: int) -> TextCodec:
    return TextCodec(train_tokenizer(iter([text]), size).to_str().encode())


def tiny_model(reads: int, spread: float) -> Llama:
    """A model of contexts of `reads` tokens, whose weights are drawn with that standard deviation."""
    architecture = Architecture(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=512,
        max_position_embeddings=reads,
        rope_linear_factor=1.0,
        initializer_range=spread,
    )
    return new_model(architecture, seed=0)
