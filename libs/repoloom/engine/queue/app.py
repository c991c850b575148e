"""The Celery application: JSON over Redis, late acknowledgement, one message a thread, no results."""

from collections.abc import Callable

from celery import Celery
from kombu import entity

from repoloom.engine.queue.broker import Broker
from repoloom.engine.queue.build import build
from repoloom.engine.queue.names import ATTEMPT, queue_name, unacked, unacked_index
from repoloom.engine.queue.pace import Pace
from repoloom.engine.step import Queue


def make_app(broker: Broker, pace: Pace, may_take: Callable[[], bool] = lambda: True) -> Celery:
    """The application that the pool publishes with and that workers serve, who take messages while they may."""
    app = Celery("repoloom", set_as_current=False)
    app.conf.update(
        **broker.celery(),
        broker_transport="repoloom.engine.queue.transport:Transport",
        broker_transport_options={
            "visibility_timeout": pace.visibility,
            "unacked_restore_throttle": 1,  # looks for them every ten seconds, not every hundred
            "priority_steps": [0],
            "socket_keepalive": True,
            "socket_timeout": broker.answer,  # not of BRPOP's second: that is read when there is something to read
            "socket_connect_timeout": broker.answer,
            "health_check_interval": 15,
            "unacked_key": unacked(),  # of this build, else a worker of another one would restore them
            "unacked_index_key": unacked_index(),
            "unacked_mutex_key": f"repoloom.unacked_mutex.{build()}",
            "message_bytes": pace.message_bytes,  # this and the next are our own transport's
            "may_take": may_take,
        },
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_default_queue=queue_name(Queue.CPU),
        task_queues=[
            entity.Queue(name, routing_key=name, expires=pace.leftover)  # type: ignore[no-untyped-call]
            for name in map(queue_name, Queue)
        ],
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,  # what they commit holds, with Redis or without
        worker_enable_remote_control=False,  # whoever can write to Redis could command the workers
        worker_send_task_events=False,
        worker_redirect_stdouts=False,
    )
    app.tasks.clear()  # of Celery's own: whoever can write to Redis could ask for them
    return app


def publish(app: Celery, queue: str, text: str) -> None:
    """Sends one message. Raises kombu's OperationalError."""
    app.send_task(
        ATTEMPT,
        args=[text],
        queue=queue,
        retry=False,
        argsrepr="",
        kwargsrepr="",
    )
