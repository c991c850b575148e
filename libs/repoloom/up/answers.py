"""Whether a part answers: the one question to each kind of server that means it can be used."""

import http.client
import platform
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from repoloom.engine.queue.broker import AWAY, Broker

_SECONDS = 3.0


def redis_answers(broker: Broker) -> Callable[[int], bool]:
    """PING, with the password."""

    def answers(_: int) -> bool:
        try:
            with broker.client() as client:
                return bool(client.ping())
        except AWAY:
            return False

    return answers


def s3_answers(address: str) -> Callable[[int], bool]:
    """Any answer over HTTP: without a signature it is a refusal."""

    def answers(_: int) -> bool:
        connection = http.client.HTTPConnection(address, timeout=_SECONDS)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status < HTTPStatus.INTERNAL_SERVER_ERROR
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return answers


def service_answers(address: str) -> Callable[[int], bool]:
    """What grpc.health.v1 says of the server as a whole."""

    def answers(_: int) -> bool:
        import grpc
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        options = [
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),
        ]  # no backoff of an earlier look
        with grpc.insecure_channel(address, options) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)  # it has no types
            try:
                said = stub.Check(health_pb2.HealthCheckRequest(), timeout=_SECONDS)
            except grpc.RpcError:
                return False
        return bool(said.status == health_pb2.HealthCheckResponse.SERVING)

    return answers


def worker_answers(broker: Broker) -> Callable[[int], bool]:
    """Whether the worker of the process has lately said on the board that it serves a queue, be it of any build.

    A worker that was started again after an upgrade is of another build than the process that looks.
    """

    def answers(pid: int) -> bool:
        from repoloom.engine.queue.names import QUEUES, workers

        try:
            with broker.client() as client:
                redis: Any = client  # its types allow for an asynchronous twin everywhere
                seconds, _ = redis.time()
                boards = [workers(queue.decode()) for queue in redis.smembers(QUEUES)]
                alive = [name for board in boards for name in redis.zrangebyscore(board, seconds * 1000, "+inf")]
        except AWAY:
            return False
        own = f"{platform.node()}-{pid}-".encode()
        return any(name.startswith(own) for name in alive)  # host-pid-token

    return answers
