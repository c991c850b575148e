"""The process that runs one job: `python -m repoloom.jobs.runner SERVICE ENTRY`, started by a keeper.

What else it needs comes in the environment, variable REPOLOOM_JOB. It ends with its keeper.
"""

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import NoReturn

from repoloom.corpus.dataset import Dataset
from repoloom.corpus.manifest import Record
from repoloom.errors import RepoloomError
from repoloom.jobs.admission import admit
from repoloom.jobs.book import JobBook
from repoloom.jobs.heart import HaltError, Heart, Why
from repoloom.jobs.pools import open_pool
from repoloom.jobs.records import Accepted, End, Failure, Made, Outcome
from repoloom.jobs.settings import JobSettings
from repoloom.processes import conceal, end_with_parent
from repoloom.recipe.run import run_stage
from repoloom.recipe.sections import steps
from repoloom.telemetry.logging import bound, configure

VARIABLE = "REPOLOOM_JOB"
logger = logging.getLogger(__name__)


class Charge(Record):
    """What a keeper tells a runner."""

    settings: JobSettings
    stages: tuple[str, ...]
    runner: str  # token by which its beats are known
    keeper: int  # process


class Runner:
    """One runner at one job."""

    def __init__(self, service: str, entry: str, charge: Charge, environment: Mapping[str, str]) -> None:
        self._entry = entry
        self._charge = charge
        self._environment = environment
        self._book = JobBook(charge.settings.root, service)
        self._heart = Heart(self._book, entry, charge.runner, self._begin_anew, charge.settings.beat_seconds)

    def run(self) -> None:
        """Does the job and writes its end. Raises StoreError where that cannot be: then another runner is to try."""
        accepted = self._book.accepted(self._entry)
        if accepted is None:
            self._book.close(self._entry)
            return
        self._book.announce(self._entry)
        try:
            with self._heart:
                made = tuple(self._work(accepted))
        except HaltError as halt:
            self._conclude(halt.why)
        except RepoloomError as error:
            self._fail(Failure.of(error))
        except Exception:
            logger.exception("the job failed")
            self._fail(Failure(error="", message="the runner failed; its log says why"))
        else:
            self._finish(Outcome.SUCCEEDED, made)

    def _work(self, accepted: Accepted) -> Iterator[Made]:
        fence = partial(self._fence, accepted.request.output)
        fence()
        work = admit(accepted.request, self._charge.stages, self._charge.settings)
        self._heart.begin(len(steps(work.stage)))
        with open_pool(self._charge.settings, work.limits) as pool:
            for dataset in run_stage(
                work.stage, work.values, work.tables, work.out, pool, work.policy, self._heart.watch, fence
            ):
                self._heart.step_done()
                yield _made(dataset)

    def _fence(self, output: str) -> None:
        """Raises where the job is not this runner's to do, or its output another job's."""
        self._heart.check()
        self._book.check_output(self._entry, output)

    def _fail(self, failure: Failure) -> None:
        """Ends the job, unless another runner does it, as after this one was frozen: its failure is its own."""
        try:
            self._heart.check()
        except HaltError as halt:
            self._conclude(halt.why)
        else:
            self._finish(Outcome.FAILED, failure=failure)

    def _conclude(self, why: Why) -> None:
        match why:
            case Why.CANCELLED:
                self._finish(Outcome.CANCELLED)
            case Why.DRAINED:
                self._book.write_progress(self._entry, self._heart.progress.model_copy(update={"runner": ""}))
            case Why.SUPERSEDED:
                logger.info("the job is not this runner's any more")

    def _begin_anew(self) -> NoReturn:
        """Replaces this process by one that has nothing under way, and finds the reason to stop before it begins.

        The main thread, in which the job is done, ends at once, and with it the workers that it started.
        """
        os.execve(sys.executable, sys.orig_argv, self._environment)  # noqa: S606 - as this process was started itself

    def _finish(self, outcome: Outcome, datasets: tuple[Made, ...] = (), failure: Failure | None = None) -> None:
        end = End(
            outcome=outcome,
            ended=datetime.now(UTC),
            progress=self._heart.progress,
            cancel_requested=self._book.cancel_requested(self._entry),
            datasets=datasets,
            failure=failure,
        )
        self._book.finish(self._entry, end)


def _made(dataset: Dataset) -> Made:
    manifest = dataset.manifest
    return Made(
        uri=dataset.uri,
        step=manifest.step,
        digest=dataset.digest,
        rows={name: listing.rows for name, listing in manifest.tables.items()},
        quarantined=len(manifest.quarantined),
    )


def main() -> None:
    """See the module's docstring."""
    service, entry = sys.argv[1:]
    environment = dict(os.environ)  # before what is secret is taken out of it
    charge = Charge.model_validate_json(os.environ.pop(VARIABLE))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the service decides what it means
    _end_with(charge.keeper)
    conceal()
    _await_workers()
    configure()
    with bound(run=entry):
        Runner(service, entry, charge, environment).run()


def _await_workers() -> None:
    """Waits for the workers that a runner, which began anew in this process, left to their death."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def _end_with(keeper: int) -> None:
    end_with_parent()
    if os.getppid() != keeper:  # it died before it could be noticed
        sys.exit(1)


if __name__ == "__main__":
    main()
