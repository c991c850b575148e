"""Where the tasks of a job run."""

import os
from contextlib import AbstractContextManager

from repoloom.engine.pool import Limits, LocalPool, Pool
from repoloom.engine.queue import REDIS_URL
from repoloom.jobs.settings import JobSettings


def open_pool(settings: JobSettings, limits: Limits) -> AbstractContextManager[Pool]:
    """Workers anywhere, over the Redis that the environment names; without one, processes of this machine.

    Raises InputError.
    """
    if os.environ.get(REDIS_URL):
        from repoloom.engine.queue.broker import Broker
        from repoloom.engine.queue.pool import CeleryPool

        return CeleryPool(Broker.take_from_environment(os.environ), limits)
    return LocalPool(settings.workers, limits)
