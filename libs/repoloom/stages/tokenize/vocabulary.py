"""Trains the tokenizer: byte-level BPE by Hugging Face tokenizers, on a sample of the corpus drawn by seed."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

import pyarrow as pa
from pydantic import Field
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from repoloom.engine.step import Params, Queue, Reader, Shares, Sink, Step
from repoloom.prompts import special_tokens
from repoloom.stages.tokenize.pretokenizer import pre_tokenizer

TOKENIZER = pa.schema(
    [
        pa.field("json", pa.binary(), nullable=False),  # tokenizer.json, as Hugging Face tokenizers reads it
        pa.field("vocab_size", pa.int64(), nullable=False),  # with special tokens
        pa.field("sample_bytes", pa.int64(), nullable=False),
        pa.field("sample_documents", pa.int64(), nullable=False),
    ]
)

_LARGEST_VOCABULARY = (1 << 16) - len(special_tokens.ALL)  # token ids are stored as uint16


class VocabularyParams(Params):
    """How the tokenizer is trained."""

    vocab_size: int = Field(
        default=32_000,
        ge=300,
        le=_LARGEST_VOCABULARY,
        description="Size without special tokens (arXiv 2401.14196 section 3.1).",
    )
    sample_bytes: int = Field(default=256 << 20, gt=0, description="Train on about so many bytes of documents.")
    seed: int = Field(default=0, description="Draws the sample.")


class Vocabulary(Step[VocabularyParams]):
    """One task: counting words needs them all. Memory grows with the sample's distinct words, not with the corpus."""

    name = "tokenize.vocabulary"
    reads = ("documents",)
    writes: ClassVar = {"tokenizer": TOKENIZER}
    queue = Queue.HIGHMEM

    def plan(self, tables: Shares, task_bytes: int) -> Iterable[Shares]:  # noqa: ARG002 - always one task
        yield {"documents": tables["documents"]}

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        sizes = [size for batch in inputs["documents"].batches(["spans"]) for size in _text_bytes(batch)]
        share = min(1.0, self.params.sample_bytes / max(1, sum(sizes)))
        sample = _Sample(inputs["documents"], share, self.params.seed)
        tokenizer = train(iter(sample), self.params.vocab_size)
        row = {
            "json": tokenizer.to_str().encode(),
            "vocab_size": tokenizer.get_vocab_size(),
            "sample_bytes": sample.bytes,
            "sample_documents": sample.documents,
        }
        out.write("tokenizer", pa.RecordBatch.from_pylist([row], schema=TOKENIZER))


def train(texts: Iterator[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE tokenizer with DeepSeek-Coder's pre-tokenizer and special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special_tokens.ALL])
    return tokenizer


class _Sample:
    """Documents drawn by the hash of who they are; counts what it hands out."""

    def __init__(self, documents: Reader, share: float, seed: int) -> None:
        self._documents = documents
        self._below = int(share * 2**64)
        self._seed = seed
        self.bytes = 0
        self.documents = 0

    def __iter__(self) -> Iterator[str]:
        for batch in self._documents.batches():
            for repo, number, text in zip(
                batch["repo"].to_pylist(), batch["document"].to_pylist(), batch["text"], strict=True
            ):
                key = f"{self._seed}/{repo}/{number}".encode()
                draw = hashlib.blake2b(key, digest_size=8, person=b"repoloom.sample").digest()
                if int.from_bytes(draw, "big") <= self._below:
                    content: bytes = text.as_py()
                    self.bytes += len(content)
                    self.documents += 1
                    yield content.decode()


def _text_bytes(batch: pa.RecordBatch) -> Iterator[int]:
    for spans in batch["spans"]:
        yield spans[-1]["end"].as_py() if len(spans) else 0
