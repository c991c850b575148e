import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from memory import MemoryReader, MemorySink
from pydantic import ValidationError
from tokenizers import Tokenizer

from repoloom.corpus.tables import DOCUMENTS
from repoloom.prompts import special_tokens
from repoloom.stages.tokenize.vocabulary import Vocabulary, VocabularyParams, train

TRAIN = """
import hashlib, json, pathlib
from repoloom.stages.tokenize.vocabulary import train
texts = [path.read_text("utf-8") for path in sorted(pathlib.Path(json.__file__).parent.glob("*.py"))]
print(hashlib.sha256(train(iter(texts), 800).to_str().encode()).hexdigest())
"""


def _vocabulary(texts: Sequence[str], batch_rows: int = 3, **params: Any) -> dict[str, Any]:
    span = {"path": "", "language": "", "blob": "", "sha256": "", "size": 0, "head": 0, "start": 0}
    cells = {"revision": "1", "license": "", "domain": "code"}
    rows = [
        {**cells, "repo": f"{n}", "document": 0, "text": text.encode(), "spans": [{**span, "end": len(text.encode())}]}
        for n, text in enumerate(texts)
    ]
    sink = MemorySink()
    documents = MemoryReader(pa.Table.from_pylist(rows, schema=DOCUMENTS), batch_rows)
    Vocabulary(VocabularyParams(**params)).run({"documents": documents}, sink)
    (row,) = sink.table("tokenizer").to_pylist()
    return row


def test_training_again_gives_the_same_bytes_in_any_process(sources: list[str]) -> None:
    here = train(iter(sources), 800).to_str()
    assert train(iter(sources), 800).to_str() == here
    for seed, threads in (("1", "1"), ("2", "4")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads}
        there = subprocess.run(
            [sys.executable, "-c", TRAIN], capture_output=True, text=True, check=True, env=environment
        )
        assert there.stdout.strip() == hashlib.sha256(here.encode()).hexdigest()


def test_a_vocabulary_depends_on_no_batch(sources: list[str]) -> None:
    texts = [text for source in sources for text in source.split("\n\n")]
    wanted = _vocabulary(texts, vocab_size=400)
    assert _vocabulary(texts, 1000, vocab_size=400) == wanted
    assert wanted["sample_documents"] == len(texts)
    assert wanted["sample_bytes"] == sum(len(text.encode()) for text in texts)


def test_the_sample_is_about_as_large_as_wanted_and_drawn_by_the_seed(sources: list[str]) -> None:
    texts = [text for source in sources for text in source.split("\n")]
    total = sum(len(text.encode()) for text in texts)
    some = _vocabulary(texts, vocab_size=400, sample_bytes=total // 2)
    assert 0.4 < some["sample_bytes"] / total < 0.6
    assert _vocabulary(texts, vocab_size=400, sample_bytes=total // 2) == some
    assert _vocabulary(texts, vocab_size=400, sample_bytes=total // 2, seed=1)["sample_bytes"] != some["sample_bytes"]


def test_the_size_is_counted_without_the_special_tokens(sources: list[str]) -> None:
    row = _vocabulary(sources, vocab_size=500)
    tokenizer = Tokenizer.from_str(row["json"].decode())
    assert row["vocab_size"] == tokenizer.get_vocab_size() == 500 + len(special_tokens.ALL)
    assert tokenizer.encode("".join(special_tokens.ALL)).tokens == list(special_tokens.ALL)


def test_an_empty_corpus_gives_the_256_bytes(sources: list[str]) -> None:
    row = _vocabulary([""], vocab_size=500)
    assert row["vocab_size"] == 256 + len(special_tokens.ALL)
    tokenizer = Tokenizer.from_str(row["json"].decode())
    assert tokenizer.decode(tokenizer.encode(sources[0]).ids) == sources[0]


def test_a_vocabulary_whose_ids_do_not_fit_into_16_bits_is_refused() -> None:
    largest = (1 << 16) - len(special_tokens.ALL)
    assert VocabularyParams(vocab_size=largest).vocab_size == largest
    with pytest.raises(ValidationError):
        VocabularyParams(vocab_size=largest + 1)
