"""What `celery --app repoloom.engine.queue.serving:app worker` serves; run_worker starts it so."""

import contextlib
import os
import time

from celery import signals

from repoloom.engine.queue.app import make_app
from repoloom.engine.queue.attempt import Duty, Station
from repoloom.engine.queue.board import Board
from repoloom.engine.queue.broker import Broker
from repoloom.engine.queue.depths import Depths
from repoloom.engine.queue.health import Health
from repoloom.engine.queue.keeper import Keeper
from repoloom.engine.queue.names import ATTEMPT, queue_name
from repoloom.engine.queue.worker import DUTY, METRICS
from repoloom.processes import conceal
from repoloom.telemetry import endpoint, logging, metrics, tracing

conceal()
_broker = Broker.take_from_environment(os.environ)
_duty = Duty.model_validate_json(os.environ[DUTY])
_board = Board(_broker.client(), _duty.pace)
_keeper = Keeper(_board, [queue_name(queue) for queue in _duty.queues], _duty.pace)
_health = Health(_duty.pace)
_station = Station(_duty, _board, _keeper, _health)
_life = contextlib.ExitStack()


def _is_well() -> bool:
    return _health.is_well(time.monotonic())


def _ready(**_: object) -> None:
    if address := os.environ.get(METRICS):
        host, port = address.rpartition(":")[::2]
        _life.enter_context(metrics.queues_watched(Depths(_broker)))
        _life.enter_context(endpoint.serving(host.strip("[]"), int(port), _is_well))
    _life.enter_context(tracing.exporting("repoloom-worker"))
    _keeper.start()


def _ending(**_: object) -> None:
    _keeper.drain()


def _ended(**_: object) -> None:
    _life.close()


def _logging(**_: object) -> None:
    logging.configure("WARNING")


app = make_app(_broker, _duty.pace, _is_well)
app.task(_station.attempt, name=ATTEMPT)
signals.setup_logging.connect(_logging)
signals.worker_ready.connect(_ready)
signals.worker_shutting_down.connect(_ending)
signals.worker_shutdown.connect(_ended)
