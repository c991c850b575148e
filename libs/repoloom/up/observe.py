"""What goes on in a stack: its queues and its open jobs, looked at again and again beside the supervisor."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from repoloom.engine.queue.broker import AWAY, Broker
from repoloom.engine.queue.state import QueueState, queue_state
from repoloom.errors import RepoloomError
from repoloom.jobs.book import JobBook, id_of
from repoloom.jobs.records import Progress

_SECONDS = 2.0
_MOST_JOBS = 8  # that are shown


@dataclass(frozen=True)
class OpenJob:
    """A job that has not ended."""

    name: str  # service/id
    stage: str
    progress: Progress | None  # None: it waits


@dataclass(frozen=True)
class Sight:
    """What was seen last."""

    queues: tuple[QueueState, ...] = ()
    taken: int = 0  # tasks that workers took since Redis began
    jobs: tuple[OpenJob, ...] = ()


class Observer:
    """Looks until the process ends; a store or Redis that is away is looked at again."""

    def __init__(self, broker: Broker, store: str, services: Sequence[str]) -> None:
        self.sight = Sight()
        self._broker = broker
        self._books = [JobBook(store, service) for service in services]
        threading.Thread(target=self._watch, name="observer", daemon=True).start()

    def _watch(self) -> None:
        while True:
            try:
                queues = tuple(queue for queue in queue_state(self._broker) if queue.of_this_build or queue.depth)
                taken = self._taken(queues)
                self.sight = Sight(queues, taken, self._jobs())
            except (*AWAY, RepoloomError):
                pass  # the screen says of the part that it is away
            time.sleep(_SECONDS)

    def _taken(self, queues: Sequence[QueueState]) -> int:
        from repoloom.engine.queue.names import taken

        with self._broker.client() as client:
            counts: list[bytes | None] = client.mget([taken(queue.name) for queue in queues])
        return sum(int(count or 0) for count in counts)

    def _jobs(self) -> tuple[OpenJob, ...]:
        jobs: list[OpenJob] = []
        for book in self._books:
            for entry in book.open_entries()[: _MOST_JOBS - len(jobs)]:
                if (accepted := book.accepted(entry)) is not None:
                    name = f"{book.service}/{id_of(entry)}"
                    jobs.append(OpenJob(name, accepted.request.stage, book.progress(entry)))
        return tuple(jobs)
