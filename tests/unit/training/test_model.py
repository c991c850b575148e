"""The model's sizes, its mask, its loss and its cache."""

import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from repoloom.errors import InputError
from repoloom.training import attention, loss
from repoloom.training.attention import packed_mask
from repoloom.training.loop import new_model
from repoloom.training.model import Llama
from repoloom.training.parallel import compile_layers
from repoloom.training.sizes import SIZES, Architecture

SMALL = Architecture(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=50,
    max_position_embeddings=64,
)


@pytest.mark.parametrize(
    ("name", "billions"),
    [("1.3B", 1.346), ("5.7B-MQA", 5.70), ("6.7B", 6.74), ("33B", 33.34), ("tiny-1M", 0.00126), ("tiny-5M", 0.00474)],
)
def test_sizes_have_the_parameters_they_are_named_for(name: str, billions: float) -> None:
    with torch.device("meta"):
        model = Llama(SIZES[name])
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e9 == pytest.approx(billions, rel=5e-3)


def test_a_vocabulary_is_padded_as_the_released_one_is() -> None:
    assert SIZES["1.3B"].trained_with(32_022, 4096).vocab_size == 32_256


def test_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValidationError, match="do not divide"):
        SMALL.model_validate({**SMALL.model_dump(), "num_key_value_heads": 3})


def test_a_document_is_read_the_same_wherever_it_is_packed() -> None:
    model = new_model(SMALL, seed=1)
    one, other = torch.randint(50, (1, 7)), torch.randint(50, (1, 9))
    packed = model(
        torch.cat((one, other), 1),
        torch.cat((torch.arange(7), torch.arange(9)))[None],
        packed_mask(torch.tensor([[1] * 7 + [2] * 9])),
    )
    for part, tokens in ((packed[:, :7], one), (packed[:, 7:], other)):
        length = tokens.shape[1]
        alone = model(tokens, torch.arange(length)[None], packed_mask(torch.ones(1, length)))
        torch.testing.assert_close(part, alone)


@pytest.mark.parametrize("installed", [True, False])
def test_documents_are_seen_as_the_mask_shows_them_by_flash_attn_where_it_is_installed(
    installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def varlen(*given: Any, causal: bool = False, window_size: tuple[int, int] = (-1, -1), **_: bool) -> Tensor:
        """Document by document, as both packages have it."""
        query, key, value, starts, ends, _, _ = given
        taken.append("flash_attn" if causal else "torch")
        assert causal or window_size == (-1, 0)
        parts = [
            [x[start:end].transpose(0, 1)[None] for x in (query, key, value)] for start, end in pairwise(ends.tolist())
        ]
        assert torch.equal(starts, ends)
        attended = [functional.scaled_dot_product_attention(*part, is_causal=True, enable_gqa=True) for part in parts]
        return torch.cat([part[0].transpose(0, 1) for part in attended])

    monkeypatch.setattr(attention, "FLASH_ATTN", installed)
    fake = ModuleType("flash_attn")
    monkeypatch.setattr(fake, "flash_attn_varlen_func", varlen, raising=False)
    monkeypatch.setitem(sys.modules, "flash_attn", fake)
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen)
    segments = torch.tensor([[1] * 7 + [2] * 9, [1] * 16])
    positions = torch.stack((torch.cat((torch.arange(7), torch.arange(9))), torch.arange(16)))
    query, key, value = (torch.randn(2, heads, 16, 8) for heads in (4, 2, 2))
    masked = attention.attend(query, key, value, packed_mask(segments))
    within = attention.attend(query, key, value, attention.packed_documents(positions))
    torch.testing.assert_close(within, masked)
    assert taken == ["flash_attn" if installed else "torch"]


@pytest.mark.parametrize("installed", [True, False])
def test_what_attends_is_named_by_device_and_what_is_installed(
    installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "FLASH_ATTN", installed)
    monkeypatch.setattr(attention, "version", lambda name: {"flash-attn": "2.8"}[name])
    assert attention.kernel(torch.device("cuda")) == ("flash-attn 2.8" if installed else "torch's attention")
    assert attention.kernel(torch.device("cpu")) == "torch's attention"


def test_generation_with_a_cache_reads_as_without() -> None:
    model = new_model(SMALL, seed=2)
    tokens = torch.randint(50, (3, 10))
    positions = torch.arange(10).expand(3, 10)
    mask = packed_mask(torch.ones(3, 10))
    whole = model(tokens, positions, mask)
    cache = model.new_cache(3, 10)
    with torch.no_grad():
        parts = [
            model(tokens[:, a:b], positions[:, a:b], mask[:, :, a:b, :b], cache) for a, b in ((0, 6), (6, 7), (7, 10))
        ]
    torch.testing.assert_close(torch.cat(parts, 1), whole)


@pytest.mark.parametrize("chunk_logits", [1, 70, 1 << 22])
def test_chunked_cross_entropy_and_its_gradients_equal_the_plain_ones(
    chunk_logits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "CHUNK_LOGITS", chunk_logits)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 9, 8, generator=generator, dtype=torch.float64)
    weight = torch.randn(31, 8, generator=generator, dtype=torch.float64)
    targets = torch.randint(31, (2, 9), generator=generator)
    targets[0, 3:6] = loss.IGNORE
    results = []
    for compute in (
        loss.summed_cross_entropy,
        lambda h, w, t: functional.cross_entropy((h @ w.T).flatten(0, 1), t.flatten(), reduction="sum"),
    ):
        h, w = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
        value = compute(h, w, targets)
        (value * 0.5).backward()
        results.append((value.float(), h.grad, w.grad))
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-6)
    scored = targets != loss.IGNORE
    assert loss.token_nats(hidden[scored], weight, targets[scored]).sum().item() == pytest.approx(results[0][0].item())


def test_bfloat16_autocast_keeps_the_gradients_of_float32_weights() -> None:
    hidden, weight = torch.randn(1, 5, 8, requires_grad=True), torch.randn(31, 8, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss.summed_cross_entropy(hidden, weight, torch.randint(31, (1, 5)))
    value.backward()
    assert value.dtype == torch.float32
    assert hidden.grad is not None
    assert hidden.grad.dtype == torch.float32
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32


def test_a_batch_without_a_target_costs_nothing() -> None:
    hidden = torch.randn(1, 4, 8, requires_grad=True)
    value = loss.summed_cross_entropy(hidden, torch.randn(9, 8), torch.full((1, 4), loss.IGNORE))
    value.backward()
    assert value.item() == 0
    assert hidden.grad is not None
    assert not hidden.grad.any()


def test_initial_weights_are_a_pure_function_of_the_seed() -> None:
    same = [new_model(SMALL, seed).state_dict() for seed in (3, 3, 4)]
    assert all(torch.equal(same[0][name], same[1][name]) for name in same[0])
    assert not torch.equal(same[0]["lm_head.weight"], same[2]["lm_head.weight"])


@pytest.mark.filterwarnings("default")  # what torch's compiler warns of is its own
def test_layers_are_compiled_where_there_is_a_c_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = new_model(SMALL, 0)
    names = list(model.state_dict())
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="apt-get install gcc"):
        compile_layers(model)
    monkeypatch.setenv("CC", "/usr/bin/cc")
    compile_layers(model)
    assert all(layer._compiled_call_impl for layer in model.model.layers)
    assert list(model.state_dict()) == names
