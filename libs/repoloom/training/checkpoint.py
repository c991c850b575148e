"""Checkpoints: written whole or not at all, verified before they are trusted, and resumed to the bit.

    <folder>/step-000000012.model.safetensors       the weights
             step-000000012.optimizer.safetensors   AdamW's moments and step counts
             step-000000012.progress.json           steps done, samples consumed, the run's identity, its software
             step-000000012.json                    the manifest: the SHA-256 of each of the three

Each is an object of a store, which has it whole or not at all, and the manifest is put last and removed first: a
checkpoint counts only while its manifest is there. So whatever moment a process dies at, the newest that counts is one
that loads.
"""

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from safetensors.torch import load_file
from torch import Tensor

from repoloom import store as stores
from repoloom.corpus.manifest import Record
from repoloom.errors import CorruptDataError, InputError
from repoloom.heartbeat import Heartbeat, unheard
from repoloom.scratch import scratch_file
from repoloom.store import Store
from repoloom.store.folders import copy
from repoloom.training.tensors import Bytes, serialized

logger = logging.getLogger(__name__)

MODEL, OPTIMIZER, PROGRESS = "model.safetensors", "optimizer.safetensors", "progress.json"
_OBJECT = re.compile(r"/step-(\d+)\.([a-z.]+)$")


class Progress(Record):
    """How far a run has come: all that its next step depends on besides weights and moments."""

    run: str  # what tells this run from any other: the digest of its parameters and data
    step: int = 0  # steps done
    samples_consumed: int = 0  # over all ranks
    software: str = ""  # that the last of these steps was done by; empty: not known


@dataclass(frozen=True)
class State:
    """The tensors of a run, by name, whatever ranks they lie on while it runs."""

    weights: dict[str, Tensor]
    moments: dict[str, Tensor]  # the optimizer's, under `<parameter>/<key>`


class Checkpoints:
    """The checkpoints of one run, in one folder of a store: the newest `keep` of them.

    A `heartbeat` beats for each tensor that is written, each piece that the store has taken, and each MiB that is read.
    """

    def __init__(self, store: Store, folder: str, keep: int) -> None:
        self._store = store
        self._folder = folder
        self._keep = keep

    def save(self, state: State, progress: Progress, heartbeat: Heartbeat = unheard) -> None:
        """Writes a checkpoint, then removes all but the newest `keep`. Raises StoreError if the store refuses."""
        step = progress.step
        self._store.sweep()
        self._store.delete(self._manifest(step))  # of one that is written anew
        digests = {
            MODEL: self._write(step, MODEL, serialized(state.weights), heartbeat),
            OPTIMIZER: self._write(step, OPTIMIZER, serialized(state.moments), heartbeat),
            PROGRESS: self._write(step, PROGRESS, [progress.model_dump_json().encode()], heartbeat),
        }
        stores.write(self._store, self._manifest(step), json.dumps(digests, indent=2).encode())
        self._remove_all_but(self._complete()[-self._keep :])

    def restore(self, run: str, heartbeat: Heartbeat = unheard) -> tuple[Progress, State | None]:
        """The newest checkpoint that is whole; the run's beginning, and no state, where there is none.

        Damaged ones that are newer count no more from then on. Raises InputError if the folder holds another run,
        CorruptDataError if every checkpoint in it is damaged.
        """
        damaged = []
        for step in reversed(self._complete()):
            try:
                progress, (weights, moments) = self._read(step, run, (MODEL, OPTIMIZER), heartbeat)
            except CorruptDataError as error:
                damaged.append((step, error))
                continue
            for other, why in damaged:  # now, not before: a folder of damaged ones alone is no new run's
                logger.warning("%s; it is set aside, and the checkpoint of step %d is used", why, step)
                self._store.delete(self._manifest(other))
            return progress, State(weights, moments)
        if damaged:
            folder = f"{self._store.uri}/{self._folder}"
            raise CorruptDataError(f"{folder}: not one checkpoint in it is whole; remove it to start anew")
        return Progress(run=run), None

    def newest_weights(self, run: str) -> tuple[int, dict[str, Tensor]] | None:
        """Step and weights of the newest checkpoint that is whole, None where there is none. Nothing is removed.

        The run may go on meanwhile, and remove what is looked at: the newest is looked for again then. Raises as
        `restore` does.
        """
        damaged: dict[int, CorruptDataError] = {}
        while steps := self._complete():
            step = max(set(steps) - damaged.keys(), default=None)
            if step is None:
                folder = f"{self._store.uri}/{self._folder}"
                raise CorruptDataError(
                    f"{folder}: not one checkpoint in it is whole; a training that goes on makes another"
                )
            try:
                _, (weights,) = self._read(step, run, (MODEL,), unheard)
            except CorruptDataError as error:  # or removed, and then there is a newer one
                damaged[step] = error
                continue
            for other, why in damaged.items():
                if other > step:
                    logger.warning("%s; the checkpoint of step %d is used", why, step)
            return step, weights
        return None

    def address(self, step: int) -> str:
        """Where the checkpoint of a step lies: its manifest."""
        return f"{self._store.uri}/{self._manifest(step)}"

    def _write(self, step: int, name: str, content: Iterable[Bytes], heartbeat: Heartbeat) -> str:
        """Its SHA-256."""
        digest = hashlib.sha256()
        with self._store.create(self._part(step, name), heartbeat) as file:
            for piece in content:
                file.write(piece)
                digest.update(piece)
                heartbeat()
        return digest.hexdigest()

    def _read(
        self, step: int, run: str, names: tuple[str, ...], heartbeat: Heartbeat
    ) -> tuple[Progress, list[dict[str, Tensor]]]:
        """With the tensors of the files of those names. Raises CorruptDataError, InputError."""
        try:
            digests = json.loads(self._store.read(self._manifest(step)))
            if set(digests) != {MODEL, OPTIMIZER, PROGRESS}:
                raise CorruptDataError(f"{self.address(step)} does not name the checkpoint's files")
            content = self._store.read(self._part(step, PROGRESS))
            self._check(step, PROGRESS, hashlib.sha256(content).hexdigest(), digests)
            progress = Progress.model_validate_json(content)
            if progress.run != run:
                raise InputError(
                    f"{self.address(step)} is of a run with other parameters or data; choose another folder"
                )
            return progress, [self._tensors(step, name, digests, heartbeat) for name in names]
        except (FileNotFoundError, ValueError, TypeError) as error:
            raise CorruptDataError(f"{self.address(step)} is of no whole checkpoint: {error}") from error

    def _tensors(self, step: int, name: str, digests: dict[str, str], heartbeat: Heartbeat) -> dict[str, Tensor]:
        with self._store.open(self._part(step, name)) as file, scratch_file("repoloom-checkpoint-") as local:
            self._check(step, name, copy(file, local, heartbeat), digests)
            local.flush()
            return load_file(f"/dev/fd/{local.fileno()}")

    def _check(self, step: int, name: str, digest: str, digests: dict[str, str]) -> None:
        if digest != digests[name]:
            where = f"{self._store.uri}/{self._part(step, name)}"
            raise CorruptDataError(f"{where}: the bytes are not those that were written")

    def _remove_all_but(self, steps: list[int]) -> None:
        """Removes the manifests of other steps, then what no manifest names: a dead process may have left some too."""
        for step in self._complete():
            if step not in steps:
                self._store.delete(self._manifest(step))
        for step, _, key in list(self._objects()):
            if step not in steps:
                self._store.delete(key)

    def _complete(self) -> list[int]:
        """The steps whose manifests are there, oldest first."""
        return sorted(step for step, name, _ in self._objects() if name == "json")

    def _objects(self) -> Iterator[tuple[int, str, str]]:
        """Step, name and key of every object of a checkpoint."""
        for key in self._store.list(self._folder):
            if match := _OBJECT.search(key):
                yield int(match[1]), match[2], key

    def _manifest(self, step: int) -> str:
        return f"{self._folder}/step-{step:09d}.json"

    def _part(self, step: int, name: str) -> str:
        return f"{self._folder}/step-{step:09d}.{name}"
