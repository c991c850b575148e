"""Filling a hole: an exported model writes what stands between a prefix and a suffix."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import load_file

from repoloom.errors import InputError
from repoloom.inference.generate import Sampling, Stop, generate
from repoloom.inference.text import TextCodec
from repoloom.inference.until import Until
from repoloom.prompts import fim
from repoloom.training.export import load_architecture, load_fim_order
from repoloom.training.model import Llama

CHARACTERS_PER_TOKEN = 16
"""More than code has on average: text farther from the hole than this times the context is not looked at."""


class Completer:
    """A model, its tokenizer, and how it is prompted."""

    def __init__(self, model: Llama, codec: TextCodec, order: fim.Order = fim.Order.PSM) -> None:
        self.model = model.eval()
        self.codec = codec
        self.order = order
        special = frozenset(codec.ids.values())
        self._stop = {
            Until.END: Stop(special),
            Until.LINE: Stop(special, after_text=codec.line_ends(), blank=codec.blanks()),
        }

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Opens an exported folder, on a GPU where there is one, and there in bfloat16, as it was trained.

        Raises InputError if it holds no model of ours.
        """
        architecture = load_architecture(folder)
        try:
            weights = load_file(folder / "model.safetensors")
            tokenizer = (folder / "tokenizer.json").read_bytes()
            model = Llama.of(architecture, weights)
            if torch.cuda.is_available():
                model.to("cuda", torch.bfloat16)
        except Exception as error:  # safetensors and torch raise their own, unrelated to one another
            raise InputError(f"{folder} holds no model that can be loaded: {error}") from error
        return cls(model, TextCodec(tokenizer), load_fim_order(folder))

    def complete(self, prefix: str, suffix: str, until: Until = Until.LINE, sampling: Sampling | None = None) -> str:
        """What the model writes between the two."""
        return self.complete_all([(prefix, suffix)], until, sampling)[0]

    def complete_all(
        self,
        holes: Sequence[tuple[str, str]],
        until: Until = Until.LINE,
        sampling: Sampling | None = None,
        filled: Callable[[int], None] = lambda _: None,
    ) -> list[str]:
        """What the model writes into each hole. Of a context too long for it, the model reads what is nearest.

        `filled` is told how many holes more are filled.
        """
        sampling = sampling or Sampling()
        reads = self.model.architecture.max_position_embeddings
        budget = reads - sampling.max_new_tokens - len(self.codec.encode(fim.prompt("", "", self.order)))
        if budget < 1:
            raise InputError(f"max_new_tokens {sampling.max_new_tokens} leaves no room in the model's {reads} tokens")
        prompts = [
            self.codec.encode(fim.prompt(*self._fit(prefix, suffix, budget), self.order)) for prefix, suffix in holes
        ]
        answers = generate(self.model, prompts, self._stop[until], self.codec.size, sampling, filled)
        return [self.codec.decode(answer) for answer in answers]

    def _fit(self, prefix: str, suffix: str, budget: int) -> tuple[str, str]:
        """What is nearest to the hole within `budget` tokens: half on either side, and what the other leaves over."""
        reach = budget * CHARACTERS_PER_TOKEN
        prefix, suffix = prefix[-reach:], suffix[:reach]
        before, after = self.codec.starts(prefix), self.codec.starts(suffix)
        if len(before) + len(after) <= budget:
            return prefix, suffix
        for_suffix = min(len(after), max(budget // 2, budget - len(before)))
        for_prefix = budget - for_suffix
        if len(before) > for_prefix:
            prefix = prefix[before[-for_prefix] :] if for_prefix else ""
            prefix = prefix[prefix.find("\n") + 1 :] or prefix  # whole lines, as training pieces are
        if len(after) > for_suffix:
            suffix = suffix[: after[for_suffix]]
            suffix = suffix[: suffix.rfind("\n") + 1] or suffix
        return prefix, suffix
