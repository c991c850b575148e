"""The conversations of a recipe as training reads them: without what benchmarks ask, and what became of each one."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import pyarrow as pa
from pydantic import JsonValue

from repoloom import store as stores
from repoloom.corpus.manifest import Record, canonical_json
from repoloom.errors import InputError
from repoloom.heartbeat import Heartbeat, unheard
from repoloom.recipe.results import Conversations
from repoloom.stages.decontaminate.step import BenchmarkWords
from repoloom.stages.tokenize.encoder import encoder_of
from repoloom.store import Store
from repoloom.training.chat_data import Encoded, PackedConversations, encode, pack
from repoloom.training.config import InstructParams, InstructSource
from repoloom.training.conversations import Conversation, read

_VERSION = 1  # raised when the same files come to other sequences
_BENCHMARK, _TOO_LONG = "benchmark", "too_long"
_AT_ONCE = 4096  # conversations that are looked through for benchmarks together


class Dropped(Record):
    """A conversation that is not trained on."""

    source: str
    line: int
    rule: str  # benchmark or too_long
    detail: str


class Prepared(NamedTuple):
    """What is trained on, and what is not."""

    data: PackedConversations
    counts: Conversations
    dropped: tuple[Dropped, ...]


def digest_of(
    params: InstructParams, sources: Sequence[InstructSource], sequence_length: int, tokenizer: bytes, benchmarks: str
) -> str:
    """What the sequences hang on: files, form, tokenizer, and the digest of what is looked for in them."""
    files: list[JsonValue] = [source.sha256 for source in sources]
    decisive: list[JsonValue] = [
        _VERSION,
        files,
        params.system,
        sequence_length,
        hashlib.sha256(tokenizer).hexdigest(),
        benchmarks,
    ]
    return "sha256:" + hashlib.sha256(canonical_json(decisive)).hexdigest()


def prepare(
    sources: Sequence[InstructSource],
    system: str,
    sequence_length: int,
    tokenizer: bytes,
    benchmarks: pa.Table,
    heartbeat: Heartbeat = unheard,
) -> Prepared:
    """Reads pinned sources; `heartbeat` beats for each conversation.

    Raises InputError where nothing is left to train on, and what `read` raises.
    """
    encoder, words = encoder_of(tokenizer), BenchmarkWords(benchmarks)
    kept: list[Encoded] = []
    dropped: list[Dropped] = []
    for source in sources:
        for conversation, shared in _looked_through(source, words):
            heartbeat()
            place = {"source": source.path, "line": conversation.line}
            if shared is not None:
                dropped.append(Dropped(**place, rule=_BENCHMARK, detail=shared))
                continue
            encoded = encode(conversation.messages, system, encoder)
            if (tokens := len(encoded.ids)) > sequence_length:
                said = f"{tokens} tokens, {sequence_length} are allowed"
                dropped.append(Dropped(**place, rule=_TOO_LONG, detail=said))
            else:
                kept.append(encoded)
    rules = Counter(one.rule for one in dropped)
    read, contaminated, too_long = len(kept) + len(dropped), rules[_BENCHMARK], rules[_TOO_LONG]
    if not kept:
        raise InputError(
            f"instruct: no conversation is left of {read}: {contaminated} share words with a benchmark, "
            f"{too_long} have more than {sequence_length} tokens"
        )
    counts = Conversations(read=read, contaminated=contaminated, too_long=too_long, kept=len(kept))
    return Prepared(pack(kept, sequence_length, encoder), counts, tuple(dropped))


def write_dropped(dropped: Sequence[Dropped], store: Store, key: str) -> None:
    """Writes what is not trained on and why, as JSON lines. Raises StoreError."""
    stores.write(store, key, "".join(one.model_dump_json() + "\n" for one in dropped).encode())


def _looked_through(source: InstructSource, words: BenchmarkWords) -> Iterator[tuple[Conversation, str | None]]:
    """Each conversation, and what it shares with a benchmark."""
    conversations = read(source)
    while some := list(islice(conversations, _AT_ONCE)):
        shared = words.shared([one.text.encode() for one in some])
        for number, conversation in enumerate(some):
            yield conversation, shared.get(number)
