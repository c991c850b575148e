"""Generation in batches equals generation one by one, and a prompt never outgrows the model."""

from itertools import pairwise

import pytest
import torch
from evaluation.tiny import tiny_codec, tiny_model

from repoloom.errors import InputError
from repoloom.inference.complete import Completer
from repoloom.inference.generate import Sampling, Stop, generate
from repoloom.inference.until import Until
from repoloom.prompts import fim
from repoloom.prompts.special_tokens import EOS, FIM_HOLE
from repoloom.training.attention import packed_mask
from repoloom.training.model import Llama

TEXT = "def add(a, b):\n    return a + b\n\n\ndef double(number):\n    return add(number, number)\n"
CODEC = tiny_codec(TEXT, 290)
MODEL = tiny_model(reads=96, spread=0.3)


def one_by_one(model: Llama, prompt: list[int], stop: set[int], count: int) -> list[int]:
    """Greedy generation that reads everything anew for each token."""
    tokens = list(prompt)
    for _ in range(count):
        hidden = model(torch.tensor([tokens]), torch.arange(len(tokens))[None], packed_mask(torch.ones(1, len(tokens))))
        following = int(model.logits(hidden[0, -1])[: CODEC.size].argmax())
        if following in stop:
            break
        tokens.append(following)
    return tokens[len(prompt) :]


def test_many_prompts_together_are_continued_as_each_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    prompts = [torch.randint(CODEC.size, (length,), generator=generator).tolist() for length in (3, 17, 1, 30, 8)]
    stop = set(range(0, CODEC.size, 9))
    together = generate(MODEL, prompts, Stop(stop), CODEC.size, Sampling(max_new_tokens=12))
    assert together == [one_by_one(MODEL, prompt, stop, 12) for prompt in prompts]


def test_every_answer_is_told_of_once_however_it_ends() -> None:
    prompts = [[5, 6, 7], [9], [11, 12]] * 4
    for stop in ((), range(0, CODEC.size, 2), range(CODEC.size)):
        ended: list[int] = []
        generate(MODEL, prompts, Stop(set(stop)), CODEC.size, Sampling(max_new_tokens=6), ended.append)
        assert sum(ended) == len(prompts)


def test_no_prompts_have_no_continuations() -> None:
    assert generate(MODEL, [], Stop(()), CODEC.size, Sampling()) == []


def test_sampling_is_repeatable_by_seed_and_a_tiny_nucleus_is_greedy() -> None:
    prompts = [[5, 6, 7]] * 3
    warm = [generate(MODEL, prompts, Stop(()), CODEC.size, Sampling(20, 1.0, 0.9, seed)) for seed in (1, 1, 2)]
    assert warm[0] == warm[1] != warm[2]
    greedy = generate(MODEL, prompts, Stop(()), CODEC.size, Sampling(20))
    assert generate(MODEL, prompts, Stop(()), CODEC.size, Sampling(20, 1.0, 1e-9, 1)) == greedy


def test_a_line_ends_before_its_break_and_holds_no_special_token() -> None:
    completer = Completer(MODEL, CODEC)
    for line in completer.complete_all([(TEXT[:place], TEXT[place:]) for place in range(0, len(TEXT), 7)], Until.LINE):
        assert "\n" not in line
        assert EOS not in line
        assert FIM_HOLE not in line


@pytest.mark.parametrize("order", fim.Order)
def test_contexts_of_any_length_fit_the_model(order: fim.Order) -> None:
    completer = Completer(MODEL, CODEC, order)
    sampling = Sampling(max_new_tokens=16)
    room = MODEL.architecture.max_position_embeddings - 16
    for prefix, suffix in (
        (TEXT * 50, ""),
        ("", TEXT * 50),
        (TEXT * 50, TEXT * 50),
        ("x" * 9999, "y" * 9999),
        ("", ""),
    ):
        fitted = completer._fit(prefix, suffix, room - 6)
        assert len(CODEC.encode(fim.prompt(*fitted, order))) <= room
        assert prefix.endswith(fitted[0])
        assert suffix.startswith(fitted[1])
        completer.complete(prefix, suffix, sampling=sampling)


def test_a_long_context_is_cut_to_whole_lines() -> None:
    prefix, suffix = Completer(MODEL, CODEC)._fit(TEXT * 9, TEXT * 9, 60)
    lines = TEXT.splitlines(keepends=True)
    assert prefix.splitlines(keepends=True)[0] in lines
    assert suffix.splitlines(keepends=True)[-1] in lines


def test_asking_for_more_tokens_than_the_model_reads_is_an_error() -> None:
    with pytest.raises(InputError, match="leaves no room"):
        Completer(MODEL, CODEC).complete("a", "b", sampling=Sampling(max_new_tokens=96))


def test_hostile_text_in_a_prompt_is_no_special_token() -> None:
    special = set(CODEC.ids.values())
    tokens = CODEC.encode(fim.prompt(str(EOS) * 3, str(FIM_HOLE)))
    assert sum(token in special for token in tokens) == 4
    assert all(earlier <= later for earlier, later in pairwise(CODEC.starts(TEXT)))
