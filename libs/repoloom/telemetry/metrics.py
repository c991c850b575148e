"""The metrics of the whole system, and the functions that count into them."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
    from prometheus_client.core import GaugeMetricFamily

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's: where forked processes keep their values
_CALL_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800)
_TASK_SECONDS = (0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600)

_ANSWER_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class TaskOutcome(StrEnum):
    """How one attempt of a task ended."""

    COMMITTED = "committed"
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


def tasks_retried(step: str, attempts: int) -> None:
    """Counts attempts beyond a task's first."""
    _metrics().task_retries.labels(step).inc(attempts)


def tasks_quarantined(step: str, tasks: int) -> None:
    """Counts tasks that were given up."""
    _metrics().task_quarantines.labels(step).inc(tasks)


@contextlib.contextmanager
def queues_watched(waiting: Callable[[], Mapping[str, int]]) -> Iterator[None]:
    """While the block runs, each exposition asks how many tasks wait in which queue, and says so.

    Of a queue that is not in the answer nothing is said: a depth that nobody knows is no depth of 0.
    """
    here, collector = _metrics().here, _Queues(waiting)
    here.register(collector)
    try:
        yield
    finally:
        here.unregister(collector)


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


def http_answered(route: str, status: int, seconds: float) -> None:
    """Counts a request over HTTP, answered to its end."""
    metrics = _metrics()
    metrics.http_requests.labels(route, str(status)).inc()
    metrics.http_seconds.labels(route).observe(seconds)


def completions_waiting(count: int) -> None:
    """Says how many completions wait for a slot."""
    _metrics().completions_waiting.set(count)


def completions_running(count: int) -> None:
    """Says how many completions have a slot."""
    _metrics().completions_running.set(count)


def engine_stepped(completions: int) -> None:
    """Counts one step of the engine with a batch of so many completions."""
    metrics = _metrics()
    metrics.engine_steps.inc()
    metrics.engine_step_completions.inc(completions)


def first_token(seconds: float) -> None:
    """Notes how long a completion waited for its first token."""
    _metrics().first_token_seconds.observe(seconds)


def completion_ended(finish: str, prompt_tokens: int, tokens: int) -> None:
    """Counts a completion that was answered to its end."""
    metrics = _metrics()
    metrics.completions.labels(finish).inc()
    metrics.tokens.labels("prompt").inc(prompt_tokens)
    metrics.tokens.labels("completion").inc(tokens)


def exposition() -> bytes:
    """All metrics in Prometheus' text format; of all processes where PROMETHEUS_MULTIPROC_DIR joins them."""
    from prometheus_client import CollectorRegistry, generate_latest

    metrics = _metrics()
    registry = metrics.registry
    if _MULTIPROCESS in os.environ:
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry) + generate_latest(metrics.here)


@dataclass(frozen=True)
class _Metrics:
    registry: "CollectorRegistry"  # of what is counted, here or in all processes that are joined
    here: "CollectorRegistry"  # of what is looked up when somebody reads
    tasks: "Counter"
    task_seconds: "Histogram"
    task_read_bytes: "Counter"
    task_written_bytes: "Counter"
    task_retries: "Counter"
    task_quarantines: "Counter"
    rpc_calls: "Counter"
    rpc_seconds: "Histogram"
    rpc_messages: "Counter"
    rpc_message_bytes: "Counter"
    rpc_running: "Gauge"
    http_requests: "Counter"
    http_seconds: "Histogram"
    completions: "Counter"
    tokens: "Counter"
    first_token_seconds: "Histogram"
    engine_steps: "Counter"
    engine_step_completions: "Counter"
    completions_waiting: "Gauge"
    completions_running: "Gauge"


@dataclass(frozen=True)
class _Queues:
    """A collector of prometheus_client's kind."""

    waiting: Callable[[], Mapping[str, int]]

    def collect(self) -> "Iterator[GaugeMetricFamily]":
        from prometheus_client.core import GaugeMetricFamily

        family = GaugeMetricFamily("repoloom_queue_tasks", "Tasks waiting in a queue", labels=["queue"])
        for queue, tasks in self.waiting().items():
            family.add_metric([queue], tasks)
        yield family


@functools.cache
def _metrics() -> _Metrics:
    """Made at the first use: prometheus_client takes 0.1 s to import, and whoever counts nothing need not have it."""
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

    registry, here = CollectorRegistry(), CollectorRegistry()
    ProcessCollector(registry=here)

    def counter(name: str, says: str, *labels: str) -> Counter:
        return Counter(f"repoloom_{name}", says, labels, registry=registry)

    def gauge(name: str, says: str, *labels: str, processes: str) -> Gauge:
        return Gauge(f"repoloom_{name}", says, labels, registry=registry, multiprocess_mode=processes)  # type: ignore[arg-type]

    def histogram(name: str, says: str, *labels: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"repoloom_{name}", says, labels, registry=registry, buckets=buckets)

    call = ("service", "method")
    return _Metrics(
        registry=registry,
        here=here,
        tasks=counter("tasks_total", "Attempts of tasks by how they ended", "step", "outcome"),
        task_seconds=histogram("task_seconds", "How long attempts of tasks took", "step", buckets=_TASK_SECONDS),
        task_read_bytes=counter("task_read_bytes_total", "Stored bytes that tasks read", "step"),
        task_written_bytes=counter("task_written_bytes_total", "Stored bytes that tasks wrote", "step"),
        task_retries=counter("task_retries_total", "Attempts beyond a task's first", "step"),
        task_quarantines=counter("task_quarantines_total", "Tasks that were given up", "step"),
        rpc_calls=counter("rpc_calls_total", "Calls by status code", *call, "code"),
        rpc_seconds=histogram("rpc_call_seconds", "How long calls took", *call, buckets=_CALL_SECONDS),
        rpc_messages=counter("rpc_messages_total", "Messages of calls", *call, "direction"),
        rpc_message_bytes=counter("rpc_message_bytes_total", "Bytes of messages of calls", *call, "direction"),
        rpc_running=gauge("rpc_running_calls", "Calls that run now", *call, processes="livesum"),
        http_requests=counter("http_requests_total", "Requests over HTTP by status", "route", "status"),
        http_seconds=histogram("http_request_seconds", "How long they took", "route", buckets=_CALL_SECONDS),
        completions=counter("completions_total", "Completions by why they ended", "finish"),
        tokens=counter("completion_tokens_total", "Tokens read and written", "kind"),
        first_token_seconds=histogram(
            "completion_first_token_seconds", "From the queue to the first token", buckets=_ANSWER_SECONDS
        ),
        engine_steps=counter("engine_steps_total", "Steps of the engine, each of which runs a batch"),
        engine_step_completions=counter("engine_step_completions_total", "Completions in these batches"),
        completions_waiting=gauge("completions_waiting", "Completions that wait for a slot", processes="livesum"),
        completions_running=gauge("completions_running", "Completions that have a slot", processes="livesum"),
    )
