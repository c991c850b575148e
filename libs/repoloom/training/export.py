"""The exported model: a folder that plain `transformers`, and whatever reads its Llama folders, opens."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from tokenizers import Tokenizer

from repoloom.errors import InputError, StoreError
from repoloom.prompts import fim
from repoloom.prompts.special_tokens import ALL, BOS, EOS, EOT, PAD
from repoloom.training.model import Llama
from repoloom.training.sizes import Architecture

PROMPT = "prompt.json"
"""How the model was taught to fill holes; `transformers` passes over it."""


def export(
    model: Llama,
    tokenizer_json: bytes,
    folder: Path,
    dtype: torch.dtype = torch.float32,
    fim_order: fim.Order = fim.Order.PSM,
    chat_template: str | None = None,
) -> None:
    """Writes weights, configuration and tokenizer to a folder that must not exist yet or be empty.

    With a chat template it is a model that answers, and ends its answers with EOT.
    The folder has its name only once it is complete. Raises InputError if the folder holds something, or the tokenizer
    has more tokens than the embedding has rows; StoreError if the disk refuses.
    """
    tokenizer = Tokenizer.from_str(tokenizer_json.decode())
    if tokenizer.get_vocab_size() > model.architecture.vocab_size:
        raise InputError(f"the tokenizer has more tokens than the model's {model.architecture.vocab_size}")
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not empty; export into a new folder")
    ids: dict[str, int | None] = {token: tokenizer.token_to_id(token) for token in ALL}
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        weights = {name: weight.to("cpu", dtype).contiguous() for name, weight in model.state_dict().items()}
        save_file(weights, partial / "model.safetensors", metadata={"format": "pt"})
        (partial / "tokenizer.json").write_bytes(tokenizer_json)
        shutil.copymode(partial / "tokenizer.json", partial / "model.safetensors")  # safetensors shuts others out
        for name, content in _configuration(model.architecture, ids, dtype, chat_template).items():
            (partial / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (partial / PROMPT).write_text(json.dumps({"fim_order": fim_order}) + "\n")
        for path in (*partial.iterdir(), partial):
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        partial.replace(folder)
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{folder}: the model cannot be written: {error}") from error


def load_architecture(folder: Path) -> Architecture:
    """The dimensions of an exported model. Raises InputError if the folder holds none."""
    try:
        content = json.loads((folder / "config.json").read_bytes())
        if content["model_type"] != "llama":
            raise InputError(f"{folder}: a {content['model_type']} model; only llama can be loaded")
        scaling = content.get("rope_scaling") or {}
        fields = {name: content[name] for name in Architecture.model_fields if name in content}
        return Architecture.model_validate({**fields, "rope_linear_factor": scaling.get("factor", 1.0)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        meant = next((f"; did you mean {path.parent}?" for path in folder.glob("*/config.json")), "")
        raise InputError(f"{folder} holds no exported model: {error}{meant}") from error


def load_fim_order(folder: Path) -> fim.Order:
    """How an exported model was taught to fill holes; as the paper has it where its folder does not say."""
    try:
        return fim.Order(json.loads((folder / PROMPT).read_bytes())["fim_order"])
    except FileNotFoundError:
        return fim.Order.PSM
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / PROMPT} does not say how holes are filled: {error}") from error


def _configuration(
    architecture: Architecture, ids: Mapping[str, int | None], dtype: torch.dtype, chat_template: str | None
) -> Mapping[str, Mapping[str, Any]]:
    """The JSON files by name."""
    dimensions = architecture.model_dump(exclude={"rope_linear_factor"})
    factor = architecture.rope_linear_factor
    ends = {"bos_token_id": ids[BOS], "eos_token_id": ids[EOS], "pad_token_id": ids[PAD]}
    named = {"bos_token": BOS, "eos_token": EOS, "pad_token": PAD}
    others = [token for token in ALL if token not in named.values()]
    answers_end = {"eos_token_id": [ids[EOT], ids[EOS]]} if chat_template else {}
    return {
        "config.json": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            **dimensions,
            "rope_scaling": None if factor == 1 else {"type": "linear", "rope_type": "linear", "factor": factor},
            "head_dim": architecture.head_dim,
            "hidden_act": "silu",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "mlp_bias": False,
            **ends,
            "torch_dtype": str(dtype).removeprefix("torch."),
            "use_cache": True,
        },
        "generation_config.json": {**ends, **answers_end, "do_sample": False},
        "special_tokens_map.json": {**named, "additional_special_tokens": others},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **named,
            "additional_special_tokens": others,
            "model_max_length": architecture.max_position_embeddings,
            "clean_up_tokenization_spaces": False,
            **({"chat_template": chat_template} if chat_template else {}),
        },
    }
