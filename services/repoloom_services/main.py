"""`repoloom-service NAME`: serves one of the seven, online calls and batch jobs, until it is told to stop."""

import importlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from repoloom.cli.entry import enter
from repoloom.rpc.catalog import STAGES, Name

_LAST_SECONDS = 2  # for threads that are about to end

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def serve(
    name: Annotated[Name, typer.Argument(help="Which service.")],
    store: Annotated[
        str,
        typer.Option(
            envvar="REPOLOOM_STORE",
            help="Address below which all datasets lie that callers may name: s3://bucket/prefix, or a folder.",
        ),
    ],
    address: Annotated[
        str | None,
        typer.Option(help="Where to listen, host:port; port 0 takes any. [default: REPOLOOM_SERVER_ADDRESS]"),
    ] = None,
    benchmarks: Annotated[
        Path | None,
        typer.Option(
            envvar="REPOLOOM_BENCHMARKS",
            exists=True,
            file_okay=False,
            help="A folder of benchmark files, which callers of the decontaminator name.",
        ),
    ] = None,
) -> None:
    """Serve one of repoloom's services over gRPC.

    Everything else is set by the environment: REPOLOOM_SERVER_* (TLS, callers, limits; see docs/services.md),
    REPOLOOM_JOBS_* (limits of batch jobs), REPOLOOM_REDIS_URL (workers for them; without it they run here), AWS_* (the
    object store), REPOLOOM_CRAWL_ALLOW (what a crawl may reach besides public hosts; here nothing, unless it is set).
    """
    from repoloom.jobs.settings import JobSettings
    from repoloom.rpc.operations import job_services
    from repoloom.rpc.server import serve as serve_all
    from repoloom.rpc.settings import ServerSettings, from_environment
    from repoloom.stages.crawl.policy import SETTING, Policy
    from repoloom.store import open_store
    from repoloom.telemetry.logging import configure
    from repoloom_services.resources import Resources

    configure()
    os.environ.setdefault(SETTING, "")  # for the runners of jobs too, which inherit it
    local_files = "local-files" in Policy.here().words
    given = {"address": address} if address else {}
    settings = from_environment(ServerSettings, "REPOLOOM_SERVER", os.environ, **given)
    root = open_store(store).uri
    of_jobs = {"root": root, "benchmarks": benchmarks and str(benchmarks), "local_files": local_files}
    jobs = job_services(name, STAGES[name], from_environment(JobSettings, "REPOLOOM_JOBS", os.environ, **of_jobs))
    with _queues_watched(), call_threads(settings.max_calls) as executor:
        online = importlib.import_module(f"repoloom_services.{name}").service(Resources(executor, root, benchmarks))
        serve_all([online, *jobs], settings)


@contextmanager
def call_threads(count: int) -> Iterator[Executor]:
    """Threads for calls. After the block the process ends in spite of those that go on though nobody waits for them.

    Python would wait for each of them: a call that was ended when the time to drain was over may compute for long.
    """
    executor = ThreadPoolExecutor(count, thread_name_prefix="call")
    yield executor
    executor.shutdown(wait=False, cancel_futures=True)
    until = time.monotonic() + _LAST_SECONDS
    for thread in threading.enumerate():
        if thread.daemon or thread is threading.main_thread():
            continue
        thread.join(max(0.0, until - time.monotonic()))
        if thread.is_alive():
            logging.getLogger(__name__).warning("%s is not done and ends with the process", thread.name)
            logging.shutdown()
            os._exit(0)


def _queues_watched() -> AbstractContextManager[None]:
    """Has the metrics tell the depth of the queues, where there are any. Raises InputError."""
    from repoloom.engine.queue import REDIS_URL

    if not os.environ.get(REDIS_URL):
        return nullcontext()
    from repoloom.engine.queue.broker import Broker
    from repoloom.engine.queue.depths import Depths
    from repoloom.telemetry.metrics import queues_watched

    return queues_watched(Depths(Broker.from_environment(os.environ)))


def main() -> None:
    """The entry point."""
    enter(app)
