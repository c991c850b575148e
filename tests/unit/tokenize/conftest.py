"""A tokenizer trained on the standard library's own sources, and documents to encode."""

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest
from memory import MemoryReader
from tokenizers import Tokenizer

from repoloom.stages.tokenize.encoder import Encoder
from repoloom.stages.tokenize.vocabulary import TOKENIZER, train

SOURCES = [path.read_text("utf-8") for path in sorted(Path(json.__file__).parent.glob("*.py"))]


@pytest.fixture(scope="session")
def sources() -> list[str]:
    return SOURCES


@pytest.fixture(scope="session")
def tokenizer_json() -> bytes:
    words = ["naïve café — “quoted”…", "中文注释：返回结果。", "日本語のコメント", "дерево поиска", "½ é\u0301 🧵🪡"]
    return train(iter([*SOURCES, *words * 20]), 1500).to_str().encode()


@pytest.fixture(scope="session")
def encoder(tokenizer_json: bytes) -> Encoder:
    return Encoder(tokenizer_json)


@pytest.fixture(scope="session")
def hugging_face(tokenizer_json: bytes) -> Tokenizer:
    """The tokenizer as Hugging Face's library runs it, text that spells a special token being text."""
    tokenizer = Tokenizer.from_str(tokenizer_json.decode())
    tokenizer.encode_special_tokens = True
    return tokenizer


@pytest.fixture(scope="session")
def tokenizer_table(tokenizer_json: bytes) -> Mapping[str, MemoryReader]:
    row = {"json": tokenizer_json, "vocab_size": 0, "sample_bytes": 0, "sample_documents": 0}
    return {"tokenizer": MemoryReader(pa.Table.from_pylist([row], schema=TOKENIZER))}
