"""How the queues stand, for metrics, for the doctor and for whoever starts and stops workers."""

from repoloom.corpus.manifest import Record
from repoloom.engine.queue.board import Board
from repoloom.engine.queue.broker import Broker
from repoloom.engine.queue.names import queue_name
from repoloom.engine.queue.pace import Pace
from repoloom.engine.step import Queue


class QueueState(Record):
    """One queue."""

    name: str
    of_this_build: bool
    waiting: int  # messages that no worker has taken
    running: int  # tasks that live workers are doing: taken, and not acknowledged
    workers: int  # live ones that serve it

    @property
    def depth(self) -> int:
        """The work that it holds."""
        return self.waiting + self.running


def queue_state(broker: Broker) -> tuple[QueueState, ...]:
    """All queues that are served or hold work, and this build's in any case. Raises as `Broker.check`; RedisError."""
    broker.check()
    with broker.client() as client:
        board = Board(client, Pace())
        own = {queue_name(queue) for queue in Queue}
        states = []
        for name in sorted(own.union(board.queues())):
            sight = board.sight(name)
            states.append(
                QueueState(
                    name=name,
                    of_this_build=name in own,
                    waiting=sight.waiting,
                    running=sight.running,
                    workers=sight.workers,
                )
            )
    return tuple(states)
