"""The engine: answers depend on their own prompt alone, and nobody is forgotten."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from evaluation.tiny import tiny_codec, tiny_model

from repoloom.errors import UnavailableError
from repoloom.inference.engine import CHUNK, Completion, Engine, Finish, QueueFullError
from repoloom.inference.generate import Sampling, Stop, generate
from repoloom.inference.slots import KEY_BLOCK

VOCABULARY = tiny_codec("def add(a, b):\n    return a + b\n", 290).size
CONTEXT = 4 * KEY_BLOCK
MODEL = tiny_model(reads=CONTEXT, spread=0.3)


class Heard:
    """What a listener heard; it may hold the engine up, or end the answer."""

    def __init__(self, goes_on: Callable[[int], bool] = lambda _: True) -> None:
        self.tokens: list[int] = []
        self.finish: Finish | Exception | None = None
        self.done = threading.Event()
        self._goes_on = goes_on

    def take(self, token: int) -> bool:
        self.tokens.append(token)
        return self._goes_on(token)

    def end(self, finish: Finish) -> None:
        self.finish = finish
        self.done.set()

    def fail(self, error: Exception) -> None:
        self.finish = error
        self.done.set()


class Gate:
    """A listener's `goes_on` that holds the engine at the first token until it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, _: int) -> bool:
        self.reached.set()
        return self.opened.wait(60)


@contextmanager
def engine(slots: int = 4, queue: int = 64) -> Iterator[Engine]:
    running = Engine(MODEL, VOCABULARY, slots, CONTEXT, queue)
    try:
        yield running
    finally:
        running.stop()


def prompts(count: int, longest: int = 40, seed: int = 0) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest, (count,), generator=generator).tolist()
    return [torch.randint(VOCABULARY, (length,), generator=generator).tolist() for length in lengths]


def answers(running: Engine, asked: list[list[int]], sampling: Sampling) -> list[list[int]]:
    heard = [Heard() for _ in asked]
    running.submit([Completion(prompt, sampling, one) for prompt, one in zip(asked, heard, strict=True)])
    for one in heard:
        assert one.done.wait(60)
        assert one.finish is Finish.LENGTH
    return [one.tokens for one in heard]


def test_greedy_answers_are_those_of_the_library() -> None:
    asked = prompts(9)
    expected = generate(MODEL, asked, Stop(()), VOCABULARY, Sampling(20))
    with engine() as running:
        assert answers(running, asked, Sampling(20)) == expected


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_is_the_same_alone_and_among_any_others(temperature: float) -> None:
    """Sampled ones too: the seed is a sequence's own, and the probabilities are the same to the bit."""
    asked = [*prompts(6), *prompts(2, longest=3 * CHUNK, seed=1)]
    sampling = Sampling(40, temperature, 0.95, seed=7)
    with engine() as running:
        alone = [answers(running, [prompt], sampling)[0] for prompt in asked]
        for seed in range(3):
            crowd = prompts(5, longest=2 * CHUNK, seed=2 + seed)
            assert answers(running, [*crowd, *asked], sampling)[len(crowd) :] == alone


def test_hidden_states_are_the_same_to_the_bit_whatever_the_other_slots_hold() -> None:
    from repoloom.inference.slots import Slots

    def states(others: list[list[int]], slot: int) -> list[torch.Tensor]:
        slots = Slots(MODEL, 4, CONTEXT)
        prompt, token = [5, 6, 7, 8], 9
        with torch.inference_mode():
            read = [slots.read(slot, prompt, 0)]
            held = {slot: len(prompt)}
            for free, other in zip(({0, 1, 2, 3} - {slot}), others, strict=False):
                slots.read(free, other, 0)
                held[free] = len(other)
            for step in range(3):
                read.append(slots.decode(dict.fromkeys(held, token + step), held)[slot])
                held = {one: length + 1 for one, length in held.items()}
        return read

    alone = states([], 0)
    for slot in range(4):
        crowded = states(prompts(3, longest=3 * KEY_BLOCK, seed=slot), slot)
        assert all(torch.equal(one, other) for one, other in zip(alone, crowded, strict=True))


def test_what_waits_beyond_the_queue_is_refused_with_when_to_ask_again() -> None:
    gate, first, second = Gate(), Heard(), Heard()
    with engine(slots=1, queue=1) as running:
        running.submit([Completion([1], Sampling(2), held := Heard(gate))])
        assert gate.reached.wait(60)
        running.submit([Completion([2], Sampling(2), first)])
        with pytest.raises(QueueFullError) as refused:
            running.submit([Completion([3], Sampling(2), second)])
        assert 0 < refused.value.seconds <= 30
        gate.opened.set()
        assert first.done.wait(60)
        assert held.finish is first.finish is Finish.LENGTH
        assert second.finish is None


def test_several_are_taken_together_or_none_of_them() -> None:
    with engine(slots=2, queue=2) as running:
        with pytest.raises(QueueFullError):
            running.submit([Completion([1], Sampling(2), Heard()) for _ in range(5)])
        assert len(answers(running, [[1]] * 4, Sampling(2))) == 4


def test_one_that_is_cancelled_leaves_its_slot_and_hears_no_more() -> None:
    gate, later = Gate(), Heard()
    with engine(slots=1) as running:
        running.submit([cancelled := Completion([1], Sampling(CONTEXT - 1), held := Heard(gate))])
        running.submit([waiting := Completion([2], Sampling(2), dropped := Heard())])
        running.submit([Completion([3], Sampling(2), later)])
        assert gate.reached.wait(60)
        cancelled.cancelled = waiting.cancelled = True
        gate.opened.set()
        assert later.done.wait(60)
        assert len(held.tokens) == 1
        assert held.finish is None
        assert dropped.tokens == []


def test_a_listener_ends_its_answer_itself() -> None:
    with engine() as running:
        [whole] = answers(running, [[5, 6]], Sampling(20))
        heard = Heard(lambda token: token != whole[3])
        running.submit([Completion([5, 6], Sampling(20), heard)])
        assert heard.done.wait(60)
        assert heard.finish is Finish.STOP
        assert heard.tokens == whole[: whole.index(whole[3]) + 1]


def test_whoever_still_listens_when_it_stops_is_told() -> None:
    gate, waiting = Gate(), Heard()
    with engine(slots=1) as running:
        running.submit([Completion([1], Sampling(CONTEXT - 1), held := Heard(gate))])
        running.submit([Completion([2], Sampling(2), waiting)])
        assert gate.reached.wait(60)
        stopping = threading.Thread(target=running.stop)
        stopping.start()
        gate.opened.set()
        stopping.join()
    assert isinstance(held.finish, UnavailableError)
    assert isinstance(waiting.finish, UnavailableError)
    with pytest.raises(UnavailableError):
        running.submit([Completion([1], Sampling(2), Heard())])


def test_an_engine_that_fails_is_not_alive_and_tells_all() -> None:
    def broken(_: int) -> bool:
        raise RuntimeError("out of memory")

    with engine() as running:
        running.submit([Completion([1], Sampling(2), heard := Heard(broken))])
        assert heard.done.wait(60)
        assert isinstance(heard.finish, UnavailableError)
        running._thread.join()
        assert not running.alive
