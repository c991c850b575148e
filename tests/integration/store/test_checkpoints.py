"""A checkpoint is whole or it is not there, wherever it lies; a damaged one gives way to the one before it."""

import io
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, BinaryIO

import pytest
import torch
from safetensors.torch import load
from store_calls import Telling, once

from repoloom.errors import CorruptDataError, InputError
from repoloom.heartbeat import Heartbeat, unheard
from repoloom.store import Naming, Store, write
from repoloom.training.checkpoint import MODEL, OPTIMIZER, PROGRESS, Checkpoints, Progress, State
from repoloom.training.config import TrainParams
from repoloom.training.model import Llama
from repoloom.training.parallel import SingleProcess
from repoloom.training.sizes import Architecture
from repoloom.training.tensors import serialized

SHAPE = Architecture(
    hidden_size=16,
    intermediate_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=1,
    vocab_size=20,
)


PARAMS = TrainParams(size=SHAPE, batch_size=1, micro_batch_size=1, steps=9, learning_rate=0.1, warmup_steps=0)


def trained(steps: int, state: State | None = None) -> State:
    """The state that a training has after some steps more."""
    plan = SingleProcess(torch.device("cpu"))
    model = Llama.without_weights(SHAPE)
    weights = iter(state.weights.values()) if state else model.first_weights(seed=0)
    plan.place(model, weights, PARAMS, state.moments if state else None)
    for _ in range(steps):
        plan.backward(sum(parameter.square().sum() for parameter in model.parameters()))
        plan.step(0.1)
    return plan.state()


def checkpoints_in(store: Store, keep: int) -> Checkpoints:
    return Checkpoints(store, "train/r", keep)


def save(checkpoints: Checkpoints, step: int) -> None:
    checkpoints.save(trained(step), Progress(run="r", step=step, samples_consumed=8 * step))


def key(step: int, name: str) -> str:
    return f"train/r/step-{step:09d}.{name}"


def test_what_was_saved_is_restored_to_the_bit(store: Store) -> None:
    checkpoints = checkpoints_in(store, keep=2)
    save(checkpoints, 3)
    progress, state = checkpoints.restore("r")
    assert progress == Progress(run="r", step=3, samples_consumed=24)
    went_on, straight = trained(1, state), trained(4)
    for of in ("weights", "moments"):
        assert getattr(went_on, of).keys() == getattr(straight, of).keys()
        assert all(torch.equal(value, getattr(straight, of)[name]) for name, value in getattr(went_on, of).items())


def test_an_empty_folder_is_a_run_at_its_beginning(store: Store) -> None:
    assert checkpoints_in(store, keep=1).restore("r") == (Progress(run="r"), None)


def test_only_the_newest_are_kept(store: Store) -> None:
    checkpoints = checkpoints_in(store, keep=2)
    for step in range(1, 5):
        save(checkpoints, step)
    names = ("json", MODEL, OPTIMIZER, PROGRESS)
    assert sorted(store.list("train")) == [key(step, name) for step in (3, 4) for name in names]


@pytest.mark.parametrize("name", [MODEL, OPTIMIZER, PROGRESS, "json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_newest_gives_way_to_the_one_before(
    store: Store, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = checkpoints_in(store, keep=2)
    save(checkpoints, 1)
    save(checkpoints, 2)
    content = bytearray(store.read(key(2, name)))
    content[len(content) // 2] ^= 0x55
    match damage:
        case "flip":
            write(store, key(2, name), bytes(content))
        case "truncate":
            write(store, key(2, name), bytes(content[: len(content) // 2]))
        case _:
            store.delete(key(2, name))
    with caplog.at_level(logging.WARNING):
        assert checkpoints.restore("r")[0].step == 1
    never_finished = (name, damage) == ("json", "remove")
    assert ("set aside" in caplog.text) is not never_finished
    save(checkpoints, 2)
    assert checkpoints.restore("r")[0].step == 2


def test_a_damaged_one_is_not_counted_among_the_newest_that_are_kept(store: Store) -> None:
    checkpoints = checkpoints_in(store, keep=2)
    for step in (1, 9):
        save(checkpoints, step)
    write(store, key(9, MODEL), b"damaged")
    assert checkpoints.restore("r")[0].step == 1
    newest = checkpoints_in(store, keep=1)
    save(newest, 2)
    assert newest.restore("r")[0].step == 2
    assert not store.exists(key(9, MODEL))


def test_a_folder_without_one_whole_checkpoint_is_an_error_not_a_new_run(store: Store) -> None:
    checkpoints = checkpoints_in(store, keep=1)
    save(checkpoints, 1)
    store.delete(key(1, MODEL))
    for _ in range(2):
        with pytest.raises(CorruptDataError, match="not one checkpoint"):
            checkpoints.restore("r")


def test_another_runs_checkpoints_are_refused(store: Store) -> None:
    checkpoints = checkpoints_in(store, keep=1)
    save(checkpoints, 1)
    with pytest.raises(InputError, match="other parameters or data"):
        checkpoints.restore("another")


@pytest.mark.parametrize("puts", range(4))
def test_one_that_a_process_died_writing_does_not_count_and_is_cleared_away(
    store: Store, puts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = checkpoints_in(store, keep=2)
    save(checkpoints, 1)
    create, made = store.create, []

    def dying(naming: Naming, heartbeat: Heartbeat = unheard) -> AbstractContextManager[BinaryIO]:
        if len(made) == puts:
            raise KeyboardInterrupt
        made.append(naming)
        return create(naming, heartbeat)

    with monkeypatch.context() as dies:
        dies.setattr(store, "create", dying)
        with pytest.raises(KeyboardInterrupt):
            save(checkpoints, 2)
    assert checkpoints.restore("r")[0].step == 1
    save(checkpoints, 3)
    assert not [left for left in store.list("train") if "step-000000002" in left]


def test_weights_are_read_without_the_optimizer_and_nothing_is_removed(store: Store) -> None:
    save(checkpoints_in(store, keep=1), 1)
    calls: list[tuple[str, str]] = []
    looking = checkpoints_in(Telling(store, lambda *call: calls.append(call)), keep=1)
    assert _are_of(1, looking.newest_weights("r"))
    assert {call for call, _ in calls} == {"list", "read", "open"}
    assert ("open", key(1, OPTIMIZER)) not in calls
    with pytest.raises(InputError, match="other parameters or data"):
        looking.newest_weights("another")


def _are_of(step: int, found: tuple[int, dict[str, torch.Tensor]] | None) -> bool:
    wanted = trained(step).weights
    return (
        found is not None
        and (found[0], found[1].keys()) == (step, wanted.keys())
        and all(torch.equal(value, wanted[name]) for name, value in found[1].items())
    )


class _Cutting(Telling):
    """A store whose connections are cut in the midst of each object: what is gone by then is found to be gone."""

    def open(self, key: str) -> io.BufferedIOBase:
        return io.BufferedReader(_Cut(super().open(key), lambda: self._go_on(key)))

    def _go_on(self, key: str) -> None:
        self._called("go on", key)
        if not self._store.exists(key):
            raise FileNotFoundError


class _Cut(io.RawIOBase):
    def __init__(self, stream: io.BufferedIOBase, go_on: Callable[[], None]) -> None:
        self._stream, self._go_on = stream, go_on

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        read = self._stream.readinto(memoryview(buffer)[:1000])
        self._go_on()
        return read

    def close(self) -> None:
        self._stream.close()
        super().close()


@pytest.mark.parametrize(("call", "name"), [("read", "json"), ("read", PROGRESS), ("open", MODEL), ("go on", MODEL)])
def test_of_a_run_that_goes_on_meanwhile_the_newest_weights_are_looked_for_again(
    store: Store, call: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    running = checkpoints_in(store, keep=1)
    save(running, 1)
    looking = checkpoints_in(_Cutting(store, once(call, key(1, name), lambda: save(running, 2))), keep=1)
    assert _are_of(2, looking.newest_weights("r"))
    assert not caplog.records
    assert running.restore("r")[0].step == 2


def test_damaged_weights_give_way_to_those_before_and_stay_where_they_are(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = checkpoints_in(store, keep=2)
    assert checkpoints.newest_weights("r") is None
    for step in (1, 2):
        save(checkpoints, step)
    write(store, key(2, MODEL), b"damaged")
    before = list(store.list("train"))
    assert _are_of(1, checkpoints.newest_weights("r"))
    assert "the checkpoint of step 1 is used" in caplog.text
    store.delete(key(1, MODEL))
    with pytest.raises(CorruptDataError, match="not one checkpoint in it is whole; a training that goes on"):
        checkpoints.newest_weights("r")
    assert list(store.list("train")) == [one for one in before if one != key(1, MODEL)]


def test_a_file_of_tensors_is_as_safetensors_reads_it() -> None:
    tensors = {
        "matrix": torch.randn(3, 4),
        "transposed": torch.randn(3, 4).T,
        "norm/step": torch.tensor(3.0),
        "half": torch.randn(5).bfloat16(),
        "empty": torch.empty(0, 2),
    }
    read = load(b"".join(map(bytes, serialized(tensors))))
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())
