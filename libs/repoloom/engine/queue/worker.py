"""A worker: Celery with a pool of threads, each of which drives a warm child process."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from repoloom.engine.queue.attempt import Duty
from repoloom.engine.queue.broker import Broker
from repoloom.engine.queue.names import queue_name

DUTY = "REPOLOOM_WORKER_DUTY"
METRICS = "REPOLOOM_WORKER_METRICS_ADDRESS"  # host:port of /metrics and /healthz
_CRAWL = "REPOLOOM_CRAWL_ALLOW"  # a worker crawls for others: nothing is allowed unless it is said


def run_worker(duty: Duty, concurrency: int, arguments: Sequence[str] = ()) -> NoReturn:
    """Becomes a worker that does `concurrency` tasks at a time, until SIGTERM; then it drains and ends.

    Redis is where the environment says (Broker.from_environment). `arguments` are further ones of `celery worker`.
    Raises InputError where Redis cannot be used.

    Threads, not processes, wait for the children: a worker killed with SIGKILL then takes all its children with it, and
    none is left that acknowledges messages for nobody. Celery's soft shutdown is left alone, since it sleeps its whole
    bound however soon the tasks end; on SIGTERM Celery takes no more messages, waits for its threads, and these give
    their tasks back when `pace.drain` is over.
    """
    Broker.from_environment(os.environ).check()
    queues = ",".join(queue_name(queue) for queue in duty.queues)
    command = [sys.executable, "-m", "celery", "--quiet", "--app", "repoloom.engine.queue.serving:app", "worker"]
    options = [f"--queues={queues}", f"--concurrency={concurrency}", "--pool=threads", "--loglevel=WARNING"]
    apart = ["--without-gossip", "--without-mingle", "--without-heartbeat"]  # workers need not know of each other
    os.execve(  # noqa: S606
        sys.executable,
        [*command, *options, *apart, *arguments],
        {_CRAWL: "", **os.environ, DUTY: duty.model_dump_json()},
    )
