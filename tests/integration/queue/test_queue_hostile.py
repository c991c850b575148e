"""What lies in Redis may be anybody's: workers refuse it and live; secrets are shown to nobody."""

import json
import os
import zlib
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fleet import BUILD, PASSWORD, QUICK, Fleet, eventually

from repoloom.engine.execute import load_step, params_model
from repoloom.engine.plan import Plan
from repoloom.engine.pool import FatalError, Limits
from repoloom.engine.queue.app import make_app, publish
from repoloom.engine.queue.attempt import Duty
from repoloom.engine.queue.message import Envelope
from repoloom.engine.queue.roots import Roots
from repoloom.engine.queue.worker import run_worker
from repoloom.engine.step import Queue
from repoloom.engine.task import Commit, Task
from repoloom.errors import InputError

CPU = f"repoloom.cpu.{BUILD}"
PROPERTIES = {"delivery_info": {"exchange": "", "routing_key": CPU}, "body_encoding": "base64"}
BODY = b64encode(b'[["x"], {}, {}]').decode()
PICKLE = b64encode(b"cos\nsystem\n(S'touch pwned'\ntR.").decode()
DEEP = b64encode(b"[" * 100_000).decode()


def raw(at: int, **changes: Any) -> bytes:
    """What Celery writes to a queue, changed."""
    message = {
        "body": BODY,
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"task": "repoloom.attempt", "id": f"{at}"},
        "properties": {**PROPERTIES, "delivery_tag": f"{at}"},
    }
    return json.dumps({**message, **changes}).encode()


HEADERS: list[dict[str, Any]] = [
    {},
    {"task": "repoloom.attempt"},
    {"task": ["repoloom.attempt"], "id": "x"},
    {"task": "repoloom.attempt", "id": []},
    {"task": "repoloom.attempt", "id": "x", "eta": "never"},
    {"task": "repoloom.attempt", "id": "x", "expires": {}},
    {"task": "repoloom.attempt", "id": "x", "timelimit": "long"},
    {"task": "repoloom.attempt", "id": "x", "retries": "many"},
]
GARBAGE = [
    b"",
    b"garbage",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"{}",
    b'{"body":1,"properties":{}}',
    b"[" * 100_000,
    b"x" * (20 << 20),
    *(raw(at, headers=headers) for at, headers in enumerate(HEADERS)),
    raw(100, headers=None),
    raw(101, properties={}),
    raw(102, properties={**PROPERTIES, "delivery_tag": {}}),
    raw(103, body="%"),
    raw(104, body=DEEP),
    raw(105, **{"content-encoding": "ebcdic"}),
    raw(106, **{"content-type": "text/html"}),
    raw(107, **{"body": PICKLE, "content-type": "application/x-python-serialize", "content-encoding": "binary"}),
]


def make_task(root: str) -> Task:
    step = load_step("probe.make")
    plan = Plan(step(params_model(step)()), {}, root, 1)
    [task] = map(plan.task, plan)
    return task


def envelope(task: Task) -> Envelope:
    return Envelope(run="0" * 32, queue=Queue.CPU, number=1, limits=Limits(seconds=5), task=task)


def test_a_worker_outlives_whatever_lies_in_its_queue_and_works_on(fleet: Fleet) -> None:
    [worker] = fleet.start()
    task = make_task(str(fleet.folder / "made"))
    good = json.loads(envelope(task).model_dump_json())
    refused = [
        "",
        "[]",
        "x" * (17 << 20),
        json.dumps({**good, "run": "../" + "0" * 29}),
        json.dumps({**good, "more": 1}),
        json.dumps({**good, "task": {**good["task"], "step": "os.system"}}),
        json.dumps({**good, "task": {**good["task"], "step": "../probe"}}),
        json.dumps({**good, "task": {**good["task"], "root": "/etc"}}),
        json.dumps({**good, "task": {**good["task"], "root": f"{fleet.folder}/../elsewhere"}}),
        json.dumps({**good, "limits": {"seconds": 1e9, "memory_bytes": 1 << 30}}),
    ]
    with fleet.redis.pool() as pool, fleet.redis.client() as client:
        for message in GARBAGE:
            client.lpush(CPU, message)
        app = make_app(fleet.redis.broker, QUICK)
        for text in refused:
            publish(app, CPU, text)
        app.send_task("repoloom.attempt", args=[1, 2, 3], queue=CPU)
        app.send_task("os.system", args=["touch pwned"], queue=CPU)
        eventually(lambda: client.llen(CPU) == 0)
        [outcome] = pool.run([task])
        app.close()
    assert isinstance(outcome.result, Commit)
    assert worker.process.poll() is None
    assert {path.name for path in fleet.folder.iterdir()} == {"made"}
    assert not Path("pwned").exists()


def carrying(text: str, body: Callable[[bytes], bytes] = lambda body: body, **changes: Any) -> bytes:
    """A message that is well made, but for some changes."""
    content = b64encode(body(json.dumps([[text], {}, {}]).encode())).decode()
    return raw(1, body=content, **changes)


def test_what_is_compressed_or_too_long_is_dropped_before_it_is_read(fleet: Fleet) -> None:
    fleet.pace = QUICK.model_copy(update={"message_bytes": 10_000})
    [worker] = fleet.start()
    names = ("packed", "long", "good")
    texts = [envelope(make_task(str(fleet.folder / name))).model_dump_json() for name in names]
    headers = {"task": "repoloom.attempt", "id": "1"}
    messages = [
        carrying(texts[0], zlib.compress, headers={**headers, "compression": "zlib"}),
        carrying(texts[1], headers={**headers, "more": "x" * 10_000}),
        carrying(texts[2]),
    ]
    with fleet.redis.client() as client:
        for message in messages:
            client.lpush(CPU, message)
    eventually((fleet.folder / "good").exists)
    assert [path.name for path in fleet.folder.iterdir()] == ["good"]
    assert worker.said("dropped what lay in a queue and is no message") == 2


def test_a_worker_does_attempts_and_nothing_else_that_celery_knows_by_name(fleet: Fleet) -> None:
    [worker] = fleet.start()
    attempt = {"task": "repoloom.attempt", "args": [], "kwargs": {}, "options": {}, "subtask_type": None}
    text = envelope(make_task(str(fleet.folder / "mapped"))).model_dump_json()
    arguments: dict[str, list[Any]] = {
        "celery.map": [attempt, [text]],
        "celery.starmap": [attempt, [[text]]],
        "celery.chunks": [attempt, [[text]], 1],
        "celery.group": [[attempt], "x", []],
        "celery.chain": [],
        "celery.chord": [[attempt], attempt],
        "celery.chord_unlock": ["x", attempt],
        "celery.accumulate": [1],
        "celery.backend_cleanup": [],
    }
    with fleet.redis.pool() as pool:
        app = make_app(fleet.redis.broker, QUICK)
        for name, given in arguments.items():
            app.send_task(name, args=given, queue=CPU)
        app.close()
        [outcome] = pool.run([make_task(str(fleet.folder / "made"))])
    assert isinstance(outcome.result, Commit)
    assert [path.name for path in fleet.folder.iterdir()] == ["made"]
    assert worker.said("Received unregistered task of type") == len(arguments)


def test_what_lies_among_the_messages_to_be_delivered_again_keeps_no_worker_from_starting(fleet: Fleet) -> None:
    with fleet.redis.client() as client:
        for tag, lies in enumerate((b"garbage", b"[]", b"{}", b"[" * 100_000, b'[{"headers": 1}, 1, {}]')):
            client.hset(f"repoloom.unacked.{BUILD}", f"{tag}", lies)
            client.zadd(f"repoloom.unacked_index.{BUILD}", {f"{tag}": 1})
        fleet.start()
        with fleet.redis.pool() as pool:
            [outcome] = pool.run([make_task(str(fleet.folder / "made"))])
        assert isinstance(outcome.result, Commit)
        eventually(lambda: client.hlen(f"repoloom.unacked.{BUILD}") == 0)


def test_a_run_whose_stores_the_workers_do_not_serve_is_told_so(fleet: Fleet, tmp_path: Path) -> None:
    fleet.start()
    with fleet.redis.pool() as pool, pytest.raises(FatalError, match="below none of the stores this worker serves"):
        next(pool.run([make_task(str(tmp_path / "elsewhere"))]))


def test_the_password_is_in_no_log_and_in_no_child(fleet: Fleet) -> None:
    [worker] = fleet.start()
    with fleet.redis.pool() as pool:
        next(pool.run([make_task(str(fleet.folder / "made"))]))
    children = worker.children()
    assert children
    for child in children:
        assert PASSWORD not in "\n".join(child.environ().values())
        assert BUILD in child.environ().values()
    fleet.redis.kill(data=True)
    eventually(lambda: "Redis is away" in worker.log.read_text())
    fleet.redis.start()
    worker.terminate()
    said = worker.log.read_text()
    assert PASSWORD not in said
    assert "p%C3%A4ss" not in said


def test_a_wrong_password_is_one_clear_line(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**fleet.redis.environment, "REPOLOOM_REDIS_PASSWORD": "hunter2"}.items():
        monkeypatch.setenv(name, value)
    line = r"^redis://127\.0\.0\.1:\d+/0 refuses the password; set REPOLOOM_REDIS_PASSWORD$"
    with pytest.raises(InputError, match=line):
        run_worker(Duty(queues=(Queue.CPU,), roots=Roots(addresses=("/x",))), concurrency=1)
    broker = fleet.redis.broker.from_environment(os.environ)
    with pytest.raises(InputError, match=line):
        broker.check()
