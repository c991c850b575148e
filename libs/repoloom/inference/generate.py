"""Generation with a key-value cache, many prompts at a time."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from repoloom.training.attention import packed_mask
from repoloom.training.model import Llama

BATCH_TOKENS = 1 << 14
"""Prompt and new tokens that are generated side by side; bounds the cache."""
_LEAST = torch.finfo(torch.float32).tiny  # below it a temperature or `top_p` may be 0 to a device


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen."""

    max_new_tokens: int = 64
    temperature: float = 0.0  # 0: the likeliest token
    top_p: float = 1.0  # the likeliest tokens that come to this probability (arXiv 1904.09751)
    seed: int = 0


@dataclass(frozen=True)
class Stop:
    """The tokens that end an answer; they are no part of it."""

    always: Collection[int]
    after_text: Collection[int] = ()  # only once the answer holds a token that is not `blank`
    blank: Collection[int] = ()

    def ends(self, answer: Sequence[int], token: int) -> bool:
        """Whether the token ends the answer."""
        return token in self.always or (
            token in self.after_text and any(written not in self.blank for written in answer)
        )


@torch.inference_mode()
def generate(
    model: Llama,
    prompts: Sequence[Sequence[int]],
    stop: Stop,
    vocabulary: int,
    sampling: Sampling,
    ended: Callable[[int], None] = lambda _: None,
) -> list[list[int]]:
    """What follows each prompt: at most `max_new_tokens` tokens, up to where `stop` ends it.

    Only tokens below `vocabulary` are chosen. Prompts of like length run together, so that little is padded. `ended` is
    told how many answers more have ended.
    """
    answers: list[list[int]] = [[] for _ in prompts]
    for members in _buckets(prompts, sampling.max_new_tokens):
        generator = torch.Generator(device=model.output_weight.device).manual_seed(sampling.seed)
        together = [prompts[member] for member in members]
        chosen = _generate(together, model, stop, vocabulary, sampling, generator, ended)
        for member, tokens in zip(members, chosen, strict=True):
            answers[member] = tokens
    return answers


def _buckets(prompts: Sequence[Sequence[int]], new_tokens: int) -> list[list[int]]:
    """Prompts by length, as many together as `BATCH_TOKENS` allows."""
    buckets: list[list[int]] = []
    for number in sorted(range(len(prompts)), key=lambda number: (-len(prompts[number]), number)):
        longest = len(prompts[buckets[-1][0]]) if buckets else 0
        if not buckets or (len(buckets[-1]) + 1) * (longest + new_tokens) > BATCH_TOKENS:
            buckets.append([])
        buckets[-1].append(number)
    return buckets


def _generate(
    prompts: Sequence[Sequence[int]],
    model: Llama,
    stop: Stop,
    vocabulary: int,
    sampling: Sampling,
    generator: torch.Generator,
    ended: Callable[[int], None],
) -> list[list[int]]:
    device = model.output_weight.device
    longest = max(map(len, prompts))
    # Padding lies on the left and is a segment of its own: it sees itself alone, and nothing sees it.
    tokens = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    padding = torch.tensor([[longest - len(prompt)] for prompt in prompts], device=device)
    places = torch.arange(longest, device=device) - padding
    visible = places >= 0
    positions = places.clamp(min=0)
    cache = model.new_cache(len(prompts), longest + sampling.max_new_tokens)
    hidden = model(tokens, positions, packed_mask(visible), cache)

    answers: list[list[int]] = [[] for _ in prompts]
    running = set(range(len(prompts)))
    for _ in range(sampling.max_new_tokens):
        following = choose(model.logits(hidden[:, -1])[:, :vocabulary].float(), sampling, generator)
        before = len(running)
        for row, token in enumerate(following.tolist()):
            if row in running:
                if stop.ends(answers[row], token):
                    running.discard(row)
                else:
                    answers[row].append(token)
        ended(before - len(running))
        if not running:
            break
        positions = positions[:, -1:] + 1
        visible = torch.cat((visible, visible.new_ones(len(prompts), 1)), dim=1)
        hidden = model(following[:, None], positions, visible[:, None, None, :], cache)
    ended(len(running))  # those that were cut off
    return answers


def choose(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """The next token of each row of float32 logits: (batch, vocabulary) -> (batch)."""
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    # None is above 0, so that what overflows is -inf, and has no probability.
    scaled = (logits - logits.amax(dim=-1, keepdim=True)) / max(sampling.temperature, _LEAST)
    probabilities, order = scaled.softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
    before = probabilities.cumsum(dim=-1) - probabilities
    probabilities = probabilities.masked_fill(before >= max(sampling.top_p, _LEAST), 0.0)
    place = torch.multinomial(probabilities, 1, generator=generator)
    return order.gather(1, place)[:, 0]
