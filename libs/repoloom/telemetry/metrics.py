"""The metrics of the whole system, and the functions that count into them."""

import functools
import os
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's: where forked processes keep their values
_CALL_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800)
_TASK_SECONDS = (0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600)


class TaskOutcome(StrEnum):
    """How one attempt of a task ended."""

    COMMITTED = "committed"
    REUSED = "reused"  # it was committed already
    ERROR = "error"
    CRASH = "crash"
    KILLED = "killed"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    UNAVAILABLE = "unavailable"
    REFUSED = "refused"


class Direction(StrEnum):
    """Which way a message of a call went, as the server sees it."""

    RECEIVED = "received"
    SENT = "sent"


def task_ended(step: str, outcome: TaskOutcome, seconds: float, read_bytes: int = 0, written_bytes: int = 0) -> None:
    """Counts one attempt of a task: what it took and moved."""
    metrics = _metrics()
    metrics.tasks.labels(step, outcome.value).inc()
    metrics.task_seconds.labels(step).observe(seconds)
    metrics.task_read_bytes.labels(step).inc(read_bytes)
    metrics.task_written_bytes.labels(step).inc(written_bytes)


def task_retried(step: str) -> None:
    """Counts an attempt beyond a task's first."""
    _metrics().task_retries.labels(step).inc()


def task_quarantined(step: str) -> None:
    """Counts a task that was given up."""
    _metrics().task_quarantines.labels(step).inc()


def queue_depth(queue: str, tasks: int) -> None:
    """Says how many tasks wait in a queue."""
    _metrics().queue_tasks.labels(queue).set(tasks)


def call_started(service: str, method: str) -> None:
    """Counts a call as running until `call_ended`."""
    _metrics().rpc_running.labels(service, method).inc()


def call_ended(service: str, method: str, code: str, seconds: float) -> None:
    """Counts a call by its status code."""
    metrics = _metrics()
    metrics.rpc_running.labels(service, method).dec()
    metrics.rpc_calls.labels(service, method, code).inc()
    metrics.rpc_seconds.labels(service, method).observe(seconds)


def message_passed(service: str, method: str, direction: Direction, size: int) -> None:
    """Counts one message of a call, of `size` bytes as sent."""
    metrics = _metrics()
    metrics.rpc_messages.labels(service, method, direction.value).inc()
    metrics.rpc_message_bytes.labels(service, method, direction.value).inc(size)


def exposition() -> bytes:
    """All metrics in Prometheus' text format; of all processes where PROMETHEUS_MULTIPROC_DIR joins them."""
    from prometheus_client import CollectorRegistry, generate_latest

    metrics = _metrics()
    if _MULTIPROCESS not in os.environ:
        return generate_latest(metrics.registry)
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


@dataclass(frozen=True)
class _Metrics:
    registry: "CollectorRegistry"
    tasks: "Counter"
    task_seconds: "Histogram"
    task_read_bytes: "Counter"
    task_written_bytes: "Counter"
    task_retries: "Counter"
    task_quarantines: "Counter"
    queue_tasks: "Gauge"
    rpc_calls: "Counter"
    rpc_seconds: "Histogram"
    rpc_messages: "Counter"
    rpc_message_bytes: "Counter"
    rpc_running: "Gauge"


@functools.cache
def _metrics() -> _Metrics:
    """Made at the first use: prometheus_client takes 0.1 s to import, and whoever counts nothing need not have it."""
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)

    def counter(name: str, says: str, *labels: str) -> Counter:
        return Counter(f"repoloom_{name}", says, labels, registry=registry)

    def gauge(name: str, says: str, *labels: str, processes: str) -> Gauge:
        return Gauge(f"repoloom_{name}", says, labels, registry=registry, multiprocess_mode=processes)  # type: ignore[arg-type]

    def histogram(name: str, says: str, *labels: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"repoloom_{name}", says, labels, registry=registry, buckets=buckets)

    call = ("service", "method")
    return _Metrics(
        registry=registry,
        tasks=counter("tasks_total", "Attempts of tasks by how they ended", "step", "outcome"),
        task_seconds=histogram("task_seconds", "How long attempts of tasks took", "step", buckets=_TASK_SECONDS),
        task_read_bytes=counter("task_read_bytes_total", "Stored bytes that tasks read", "step"),
        task_written_bytes=counter("task_written_bytes_total", "Stored bytes that tasks wrote", "step"),
        task_retries=counter("task_retries_total", "Attempts beyond a task's first", "step"),
        task_quarantines=counter("task_quarantines_total", "Tasks that were given up", "step"),
        queue_tasks=gauge("queue_tasks", "Tasks waiting in a queue", "queue", processes="mostrecent"),
        rpc_calls=counter("rpc_calls_total", "Calls by status code", *call, "code"),
        rpc_seconds=histogram("rpc_call_seconds", "How long calls took", *call, buckets=_CALL_SECONDS),
        rpc_messages=counter("rpc_messages_total", "Messages of calls", *call, "direction"),
        rpc_message_bytes=counter("rpc_message_bytes_total", "Bytes of messages of calls", *call, "direction"),
        rpc_running=gauge("rpc_running_calls", "Calls that run now", *call, processes="livesum"),
    )
