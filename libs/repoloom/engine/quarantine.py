"""The failures of tasks, counted in `failures/<key>.json`; a task that failed too often is given up."""

import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from pydantic import ValidationError

from repoloom import store as stores
from repoloom.corpus.manifest import Quarantined
from repoloom.corpus.reading import WAY_OUT
from repoloom.engine.task import Attempt, Failures, Kind, Task
from repoloom.engine.work import Work
from repoloom.errors import CorruptDataError
from repoloom.store import Store

_NAME = re.compile(r"failures/([0-9a-f]{32})\.json")
_AT_ONCE = 16  # objects read

_KILLS = 20
"""A worker killed from outside says nothing of its task, so it is no failed attempt; but what is killed this often in
one run may bring it about (the kernel kills so when memory runs short)."""


class Quarantine:
    """The failures of a plan's tasks. Looking for them costs as much as there are failures, however much is done."""

    def __init__(self, store: Store, work: Work, attempts: int) -> None:
        """Raises CorruptDataError."""
        self._store = store
        self._attempts = attempts
        self._killed: Counter[str] = Counter()
        self._failures: dict[str, Failures] = {}
        self.given_up: set[str] = set()
        """The keys of the tasks that are tried no more."""
        with ThreadPoolExecutor(_AT_ONCE) as readers:
            for failures in readers.map(self._read, list(self._stale(work))):
                self._failures[failures.task] = failures
                self._judge(failures.task)

    def _stale(self, work: Work) -> Iterator[str]:
        """The keys of the plan's tasks that failed; forgets those of tasks that are committed by now."""
        for key in keys_of_failures(self._store):
            task = key.partition("/")[2].removesuffix(".json")
            if work.number(task) is None:
                continue
            if work.is_done(task):
                self._store.delete(key)
            else:
                yield key

    def has_failed(self, task: Task) -> bool:
        """Whether a task is known for a failed attempt."""
        return task.key in self._failures

    def count(self, task: Task, attempt: Attempt) -> None:
        """Counts a failed attempt."""
        if attempt.kind is Kind.KILLED:
            self._killed[task.key] += 1
        else:
            failed = self._of(task)
            failed = failed.model_copy(update={"attempts": (*failed.attempts, attempt)})
            stores.write(self._store, task.failures_key, failed.model_dump_json().encode())
            self._failures[task.key] = failed
        self._judge(task.key)

    def forgive(self, task: Task) -> None:
        """Forgets the failures of a task that is committed."""
        if self._failures.pop(task.key, None) is not None:
            self._store.delete(task.failures_key)

    def verdict(self, task: Task) -> Quarantined:
        """What the manifest says of a task that was given up."""
        failed = self._of(task)
        killed = Attempt(kind=Kind.KILLED, error=f"killed {_KILLS} times", at="")
        last = failed.attempts[-1] if failed.attempts else killed
        return Quarantined(
            task=failed.task,
            inputs=failed.inputs,
            at=last.at,
            kind=last.kind,
            error=last.error,
            attempts=len(failed.attempts) or _KILLS,
        )

    def _of(self, task: Task) -> Failures:
        inputs = {name: share.keys for name, share in task.inputs.items()}
        return self._failures.get(task.key) or Failures(task=task.key, inputs=inputs)

    def _judge(self, key: str) -> None:
        attempts = failed.attempts if (failed := self._failures.get(key)) else ()
        refused = any(attempt.kind is Kind.REFUSED for attempt in attempts)
        if refused or len(attempts) >= self._attempts or self._killed[key] >= _KILLS:
            self.given_up.add(key)

    def _read(self, key: str) -> Failures:
        try:
            return Failures.model_validate_json(self._store.read(key))
        except ValidationError as error:
            uri = self._store.uri
            raise CorruptDataError(f"{uri}/{key} cannot be read; {WAY_OUT.format(uri)}") from error


def keys_of_failures(store: Store) -> list[str]:
    """The objects that count failures."""
    return [key for key in store.list("failures") if _NAME.fullmatch(key)]
