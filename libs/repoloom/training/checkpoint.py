"""Checkpoints: written whole or not at all, verified before they are trusted, and resumed to the bit.

    <folder>/step-000000012/model.safetensors       the weights
                            optimizer.safetensors   AdamW's moments and step counts
                            progress.json           steps done, samples consumed, the run's identity
                            manifest.json           the SHA-256 of each of the three

A checkpoint is written under a hidden name, synced, and renamed: it has its name only once it is complete. So whatever
moment a process dies at, the newest name is a checkpoint that loads.
"""

import hashlib
import json
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from repoloom.corpus.manifest import Record
from repoloom.errors import CorruptDataError, InputError, StoreError

logger = logging.getLogger(__name__)

MODEL, OPTIMIZER, PROGRESS, MANIFEST = "model.safetensors", "optimizer.safetensors", "progress.json", "manifest.json"


class Progress(Record):
    """How far a run has come: all that its next step depends on besides weights and moments."""

    run: str  # what tells this run from any other: the digest of its parameters and data
    step: int = 0  # steps done
    samples_consumed: int = 0  # over all ranks


@dataclass(frozen=True)
class State:
    """The tensors of a run, by name, whatever ranks they lie on while it runs."""

    weights: dict[str, Tensor]
    moments: dict[str, Tensor]  # the optimizer's, under `<parameter>/<key>`


class Checkpoints:
    """The checkpoints of one run: the newest `keep` of them."""

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder = folder
        self._keep = keep

    def save(self, state: State, progress: Progress) -> Path:
        """Writes a checkpoint, then removes those beyond the newest `keep`. Raises StoreError if the disk refuses."""
        try:
            return self._save(state, progress)
        except (OSError, SafetensorError) as error:
            raise StoreError(f"{self._folder}: checkpoint {progress.step} cannot be written: {error}") from error

    def restore(self, run: str) -> tuple[Progress, State | None]:
        """The newest checkpoint that is whole; the run's beginning, and no state, where there is none.

        A damaged one is set aside under another name and the one before it is taken. Raises InputError if the folder
        holds another run, CorruptDataError if every checkpoint in it is damaged.
        """
        damaged = []
        for path in reversed(self._complete()):
            try:
                _verify(path)
            except CorruptDataError as error:
                damaged.append((path, error))
                continue
            progress = Progress.model_validate_json((path / PROGRESS).read_bytes())
            if progress.run != run:
                raise InputError(f"{path} was written by a run with other parameters or data; choose another folder")
            for other, why in damaged:  # now, not before: a folder of damaged ones alone is no new run's
                logger.warning("%s; it is set aside, and %s is used", why, path.name)
                _replace(other, other.with_name(f"damaged-{other.name}"))
            return progress, State(load_file(path / MODEL), load_file(path / OPTIMIZER))
        if damaged:
            raise CorruptDataError(f"{self._folder}: not one checkpoint in it is whole; remove it to start anew")
        return Progress(run=run), None

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step lies."""
        return self._folder / f"step-{step:09d}"

    def _save(self, state: State, progress: Progress) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        for leftover in self._folder.glob(".*"):  # of a process that died
            shutil.rmtree(leftover)
        final = self.path(progress.step)
        partial = final.with_name(f".{final.name}")
        partial.mkdir()
        save_file(state.weights, partial / MODEL)
        save_file(state.moments, partial / OPTIMIZER)
        (partial / PROGRESS).write_text(progress.model_dump_json())
        digests = {name: file_sha256(partial / name) for name in (MODEL, OPTIMIZER, PROGRESS)}
        (partial / MANIFEST).write_text(json.dumps(digests, indent=2))
        for path in (*partial.iterdir(), partial):
            _sync(path)
        _replace(partial, final)
        for old in self._complete()[: -self._keep]:
            doomed = old.with_name(f".{old.name}")  # hidden first, so that a half-removed one has no name
            _replace(old, doomed)
            shutil.rmtree(doomed)
        return final

    def _complete(self) -> list[Path]:
        """Oldest first."""
        return sorted(self._folder.glob("step-*"))


def _verify(path: Path) -> None:
    try:
        digests = json.loads((path / MANIFEST).read_bytes())
        if set(digests) != {MODEL, OPTIMIZER, PROGRESS}:
            raise CorruptDataError(f"{path}: its manifest does not name its files")
        for name, digest in digests.items():
            if file_sha256(path / name) != digest:
                raise CorruptDataError(f"{path / name}: the bytes are not those that were written")
    except (OSError, ValueError, TypeError) as error:
        raise CorruptDataError(f"{path}: not a whole checkpoint: {error}") from error


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(source: Path, target: Path) -> None:
    """Renames a folder durably; what has the target's name already gives way."""
    if target.exists():
        shutil.rmtree(target)
    source.rename(target)
    _sync(target.parent)
