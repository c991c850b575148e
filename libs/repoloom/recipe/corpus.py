"""What the data path made, as training and evaluation read it."""

import hashlib
import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from repoloom.corpus.dataset import Dataset
from repoloom.corpus.manifest import Part
from repoloom.errors import InputError
from repoloom.evaluation.held_out import HeldOutFile
from repoloom.heartbeat import Heartbeat, unheard
from repoloom.prompts import fim
from repoloom.training.data import PackedDataset


@dataclass(frozen=True)
class Corpus:
    """The tokenizer, the packed tokens and the held-out repositories of a run."""

    packed: Dataset
    tokenizer: bytes
    vocabulary: int
    heldout: Dataset
    fim_order: fim.Order
    made: Mapping[str, Dataset] = field(default_factory=dict)  # every dataset of the run, by step

    @classmethod
    def of(cls, datasets: dict[str, Dataset]) -> "Corpus":
        """From the datasets of a run, by step. Raises InputError naming the step whose work is missing."""
        for step in ("split.heldout", "tokenize.vocabulary", "tokenize", "pack"):
            if step not in datasets:
                raise InputError(f"there is no dataset of the step {step!r}; run the recipe up to `--until pack` first")
        rows = datasets["tokenize.vocabulary"].reader("tokenizer").table().to_pylist()
        if not rows:
            raise InputError(
                "the step 'tokenize.vocabulary' made no tokenizer, its task is quarantined; "
                "`repoloom retry` and running again tries it anew"
            )
        order = fim.Order(str(datasets["tokenize"].manifest.params["fim_order"]))
        tokenizer, vocabulary = rows[0]["json"], rows[0]["vocab_size"]
        return cls(datasets["pack"], tokenizer, vocabulary, datasets["split.heldout"], order, datasets)

    def training_data(self, heartbeat: Heartbeat = unheard) -> PackedDataset:
        """The packed sequences, as `sequences_of` has them."""
        return sequences_of(self.packed, heartbeat)

    def held_out_files(self, most_bytes: int, seed: int) -> list[HeldOutFile]:
        """Held-out files drawn by the hash of seed and name, up to so many bytes; memory grows with these alone."""
        chosen: list[tuple[int, str, str, int, HeldOutFile]] = []
        held = 0
        for file in self._held_out():
            key = f"{seed}/{file.repo}/{file.path}".encode()
            draw = int.from_bytes(hashlib.blake2b(key, digest_size=8, person=b"repoloom.eval").digest(), "big")
            size = len(file.content.encode())
            heapq.heappush(chosen, (-draw, file.repo, file.path, size, file))
            held += size
            while held > most_bytes and len(chosen) > 1:
                held -= heapq.heappop(chosen)[3]
        return sorted((entry[4] for entry in chosen), key=lambda file: (file.repo, file.path))

    def _held_out(self) -> Iterator[HeldOutFile]:
        for batch in self.heldout.batches("heldout"):
            for row in batch.select(["repo", "text", "spans"]).to_pylist():
                for span in row["spans"]:
                    header, content = (
                        row["text"][span["head"] : span["start"]],
                        row["text"][span["start"] : span["end"]],
                    )
                    yield HeldOutFile(row["repo"], span["path"], span["language"], header.decode(), content.decode())


def sequences_of(packed: Dataset, heartbeat: Heartbeat = unheard) -> PackedDataset:
    """The sequences of a dataset of `pack`, their digests checked. Raises CorruptDataError.

    `heartbeat` beats for each file that is read.
    """
    packed.verify(heartbeat)
    length = packed.manifest.params["sequence_length"]
    assert isinstance(length, int)

    def path(part: Part) -> Path:
        heartbeat()
        return packed.local_path(part)

    shards, indexes = (list(map(path, packed.parts(table))) for table in ("shards", "index"))
    return PackedDataset(shards, indexes, length)
