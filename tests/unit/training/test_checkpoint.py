"""A checkpoint is whole or it is not there; a damaged one gives way to the one before it."""

import logging
from pathlib import Path

import pytest
import torch
from torch.optim import AdamW

from repoloom.errors import CorruptDataError, InputError
from repoloom.training.checkpoint import MANIFEST, MODEL, OPTIMIZER, PROGRESS, Checkpoints, Progress
from repoloom.training.loop import new_model
from repoloom.training.model import Llama
from repoloom.training.parallel import SingleProcess
from repoloom.training.sizes import Architecture

SHAPE = Architecture(
    hidden_size=16,
    intermediate_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=1,
    vocab_size=20,
)


def trained(steps: int) -> tuple[Llama, AdamW]:
    model = new_model(SHAPE, seed=0)
    optimizer = AdamW(model.parameters(), lr=0.1, fused=True)
    for _ in range(steps):
        sum(parameter.square().sum() for parameter in model.parameters()).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


def save(checkpoints: Checkpoints, step: int) -> Path:
    return checkpoints.save(
        SingleProcess().state(*trained(step)), Progress(run="r", step=step, samples_consumed=8 * step)
    )


def test_what_was_saved_is_restored_to_the_bit(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    save(checkpoints, 3)
    model, optimizer = trained(0)
    progress, state = checkpoints.restore("r")
    assert progress == Progress(run="r", step=3, samples_consumed=24)
    assert state is not None
    SingleProcess().load(model, optimizer, state)
    before, before_optimizer = trained(3)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters(), strict=True))
    for one, other in zip(model.parameters(), before.parameters(), strict=True):
        for key, value in before_optimizer.state[other].items():
            assert torch.equal(optimizer.state[one][key], value)


def test_an_empty_folder_is_a_run_at_its_beginning(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "none", keep=1).restore("r") == (Progress(run="r"), None)


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in range(1, 5):
        save(checkpoints, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000003", "step-000000004"]


@pytest.mark.parametrize("name", [MODEL, OPTIMIZER, PROGRESS, MANIFEST])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_newest_gives_way_to_the_one_before(
    tmp_path: Path, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    save(checkpoints, 1)
    victim = save(checkpoints, 2) / name
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 0x55
    match damage:
        case "flip":
            victim.write_bytes(content)
        case "truncate":
            victim.write_bytes(content[: len(content) // 2])
        case _:
            victim.unlink()
    with caplog.at_level(logging.WARNING):
        assert checkpoints.restore("r")[0].step == 1
    assert "set aside" in caplog.text
    save(checkpoints, 2)
    assert checkpoints.restore("r")[0].step == 2


def test_a_folder_without_one_whole_checkpoint_is_an_error_not_a_new_run(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    (save(checkpoints, 1) / MODEL).unlink()
    for _ in range(2):
        with pytest.raises(CorruptDataError, match="not one checkpoint"):
            checkpoints.restore("r")


def test_another_runs_checkpoints_are_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    save(checkpoints, 1)
    with pytest.raises(InputError, match="other parameters or data"):
        checkpoints.restore("another")


def test_what_a_dead_process_left_half_written_is_cleared_away(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    save(checkpoints, 1)
    half = tmp_path / ".step-000000002"
    half.mkdir()
    (half / MODEL).write_bytes(b"half")
    assert checkpoints.restore("r")[0].step == 1
    save(checkpoints, 2)
    assert not half.exists()
