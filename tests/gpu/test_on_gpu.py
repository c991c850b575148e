"""On a GPU: its own kernels compute what the CPU's do, the same to the bit each time. Run by `make test-gpu`."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from repoloom.inference.generate import Sampling, Stop, generate
from repoloom.inference.slots import KEY_BLOCK, Slots
from repoloom.store import open_store
from repoloom.training.attention import attend, packed_documents, packed_mask
from repoloom.training.checkpoint import Checkpoints
from repoloom.training.config import TrainParams
from repoloom.training.data import PackedDataset, collate
from repoloom.training.loop import StepReport, new_model, train
from repoloom.training.model import Llama
from repoloom.training.objective import Objective
from repoloom.training.parallel import SingleProcess
from repoloom.training.sizes import Architecture

pytestmark = pytest.mark.filterwarnings("default")  # what torch's compiler warns of is its own
CONTEXT = 4 * KEY_BLOCK
VOCABULARY = 500
SIZE = Architecture(
    hidden_size=256,
    intermediate_size=512,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=512,
    max_position_embeddings=CONTEXT,
    rope_linear_factor=1.0,
    initializer_range=0.1,
)
LENGTH = 128
PARAMS = TrainParams(
    size=SIZE,
    sequence_length=LENGTH,
    batch_size=8,
    micro_batch_size=4,
    steps=8,
    learning_rate=1e-2,
    warmup_steps=2,
    checkpoint_every=3,
)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


def data(folder: Path) -> PackedDataset:
    draw = np.random.default_rng(0)
    tokens = (draw.integers(VOCABULARY, size=(32, 1)) + np.arange(LENGTH)).astype(np.uint16) % VOCABULARY
    (tokens).tofile(folder / "0.bin")
    np.sort(draw.integers(1, 6, size=tokens.shape, dtype=np.uint16), axis=1).tofile(folder / "0.idx")
    return PackedDataset([folder / "0.bin"], [folder / "0.idx"], LENGTH)


def model() -> Llama:
    return new_model(SIZE, 0).to("cuda", torch.bfloat16).eval()


def trained(folder: Path, checkpoints: Path, plan: SingleProcess, stop_after: int = 0) -> list[float]:
    """The losses of the steps that were done; it is left after one of them without a word."""
    losses = []

    def report(step: StepReport) -> None:
        losses.append(step.loss)
        if step.step == stop_after:
            raise InterruptedError

    with contextlib.suppress(InterruptedError):
        train(
            PARAMS,
            data(folder),
            data_digest="sha256:0",
            vocabulary=VOCABULARY,
            checkpoints=Checkpoints(open_store(str(checkpoints)), "train", 2),
            plan=plan,
            report=report,
        )
    return losses


@pytest.mark.parametrize("key_value_heads", [4, 2, 1])
def test_documents_are_seen_as_through_the_mask(key_value_heads: int, tmp_path: Path) -> None:
    batch = collate(map(data(tmp_path).sample, range(3))).to(torch.device("cuda"))
    draw = torch.Generator("cuda").manual_seed(0)
    query, key, value = (
        torch.randn(3, heads, LENGTH, 64, device="cuda", generator=draw, requires_grad=True)
        for heads in (4, key_value_heads, key_value_heads)
    )
    results = []
    for dtype, visible in (
        (torch.float32, packed_mask(batch.segments)),
        (torch.bfloat16, packed_documents(batch.positions)),
    ):
        attended = attend(query.to(dtype), key.to(dtype), value.to(dtype), visible)
        results.append((attended.float(), *torch.autograd.grad(attended.float().square().sum(), (query, key, value))))
    for one, other in zip(*results, strict=True):
        assert (one - other).norm() / one.norm() < 0.02


def test_the_loss_and_its_gradients_are_the_cpu_s(tmp_path: Path) -> None:
    batch = collate(map(data(tmp_path).sample, range(4)))
    results = []
    for device in map(torch.device, ("cpu", "cuda")):
        objective = Objective(new_model(SIZE, 0).to(device))
        loss = objective(batch.to(device))
        loss.backward()
        results.append([loss.detach().cpu(), *(parameter.grad.cpu() for parameter in objective.parameters())])
    for one, other in zip(*results, strict=True):
        assert (one - other).norm() / one.norm() < 0.05


def test_a_training_goes_on_to_the_bit_after_it_was_cut_off(tmp_path: Path) -> None:
    alone, cut = tmp_path / "alone", tmp_path / "cut"
    plans = [SingleProcess() for _ in range(3)]
    losses = trained(tmp_path, alone, plans[0])
    assert trained(tmp_path, cut, plans[1], stop_after=5) == losses[:5]
    assert trained(tmp_path, cut, plans[2]) == losses[3:]
    one, other = plans[0].state(), plans[2].state()
    assert all(torch.equal(weight, other.weights[name]) for name, weight in one.weights.items())
    assert all(torch.equal(moment, other.moments[name]) for name, moment in one.moments.items())
    assert losses[-1] < losses[0]


def test_hidden_states_are_the_same_to_the_bit_whatever_the_other_slots_hold() -> None:
    served = model()
    prompt = list(range(40))

    def states(others: list[list[int]], slot: int) -> list[torch.Tensor]:
        slots = Slots(served, 4, CONTEXT)
        with torch.inference_mode():
            read = [slots.read(slot, prompt, 0)]
            held = {slot: len(prompt)}
            for free, other in zip({0, 1, 2, 3} - {slot}, others, strict=False):
                slots.read(free, other, 0)
                held[free] = len(other)
            for step in range(3):
                read.append(slots.decode(dict.fromkeys(held, step), held)[slot])
                held = {one: length + 1 for one, length in held.items()}
        return read

    alone = states([], 0)
    for slot in range(4):
        others = [list(range(length)) for length in (7, 90, 300)]
        assert all(torch.equal(one, other) for one, other in zip(alone, states(others, slot), strict=True))


def test_a_batch_decodes_what_a_prompt_alone_is_read_as() -> None:
    served = model()
    prompt = list(range(40))
    expected = generate(served.float(), [prompt], Stop(()), VOCABULARY, Sampling(8))[0]
    slots = Slots(served, 2, CONTEXT)
    with torch.inference_mode():
        hidden = slots.read(1, prompt, 0)
        for number, token in enumerate(expected):
            assert int(served.logits(hidden)[:VOCABULARY].argmax()) == token
            hidden = slots.decode({1: token}, {1: len(prompt) + number})[1]
