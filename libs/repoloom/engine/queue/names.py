"""The names of what lies in Redis."""

import hashlib

from repoloom.engine.queue.build import build
from repoloom.engine.step import Queue
from repoloom.engine.task import Task

ATTEMPT = "repoloom.attempt"  # the one task that Celery knows: an attempt at one of ours
QUEUES = "repoloom.queues"  # the set of all queues' names


def queue_name(queue: Queue) -> str:
    """The list that holds the waiting messages of this build."""
    return f"repoloom.{queue}.{build()}"


def unacked() -> str:
    """The messages of this build that workers took and have not done with."""
    return f"repoloom.unacked.{build()}"


def unacked_index() -> str:
    """The same, by when they were taken."""
    return f"repoloom.unacked_index.{build()}"


def published(queue: str) -> str:
    """Counts the messages that a queue was ever given."""
    return f"{queue}.published"


def taken(queue: str) -> str:
    """The highest number of a message that a worker took from a queue."""
    return f"{queue}.taken"


def running(queue: str) -> str:
    """The claims on a queue's tasks, by when they end."""
    return f"{queue}.running"


def workers(queue: str) -> str:
    """The workers that serve a queue, by when they are thought dead."""
    return f"{queue}.workers"


def claim(task: Task) -> str:
    """Holds the token of the worker that does a task. Runs that do the same task have one claim between them."""
    place = hashlib.sha256(f"{task.root}/{task.key}".encode()).hexdigest()
    return f"repoloom.claim.{place[:32]}"


def hints(run: str) -> str:
    """The list of how tasks of a run ended."""
    return f"repoloom.hints.{run}"


def over(run: str) -> str:
    """Is there once a run has ended or was cancelled: whatever is left of it is dropped."""
    return f"repoloom.over.{run}"
