import asyncio
import io
import json
import logging
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoloom.telemetry import tracing
from repoloom.telemetry.logging import JsonFormatter, PlainFormatter, bound, configure


def _record(message: str, /, **fields: object) -> logging.LogRecord:
    record = logging.LogRecord("a.logger", logging.INFO, "file.py", 1, "%s", (message,), None)
    if fields:
        record.fields = fields
    return record


def _line(record: logging.LogRecord) -> dict[str, object]:
    return json.loads(JsonFormatter().format(record))


@given(st.text())
def test_a_line_is_one_json_object_whatever_the_message_is(message: str) -> None:
    text = JsonFormatter().format(_record(message))
    assert len(text.splitlines()) == 1
    assert set(json.loads(text)) == {"time", "level", "logger", "message"}


def test_a_line_says_when_who_and_what() -> None:
    line = _line(_record("done", seconds=0.5, address="https://a:b@c", message="not this"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(line.pop("time")))
    expected = {"level": "info", "logger": "a.logger", "message": "done", "seconds": 0.5, "address": "https://***@c"}
    assert line == expected


def test_a_line_holds_what_is_bound_while_it_is_bound() -> None:
    with bound(run="r1", task="t1"):
        with bound(step="filter", task="t2"):
            line = _line(_record("x"))
            assert (line["run"], line["step"], line["task"]) == ("r1", "filter", "t2")
        assert _line(_record("x"))["task"] == "t1"
    assert "task" not in _line(_record("x"))


def test_tasks_at_the_same_time_keep_their_own() -> None:
    async def work(name: str) -> str:
        with bound(task=name):
            await asyncio.sleep(0)
            return str((await asyncio.to_thread(lambda: _line(_record("x"))))["task"])

    async def main() -> list[str]:
        return await asyncio.gather(*(work(str(n)) for n in range(10)))

    assert asyncio.run(main()) == [str(n) for n in range(10)]


def test_a_line_inside_a_span_bears_its_trace() -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    with tracing.span("work", parent={"traceparent": f"00-{trace}-b7ad6b7169203331-01"}):
        assert _line(_record("x"))["trace_id"] == trace
    assert "trace_id" not in _line(_record("x"))


def test_an_exception_is_logged_without_its_secrets() -> None:
    try:
        raise ValueError("redis://:hunter2@host")
    except ValueError as error:
        record = logging.LogRecord("a", logging.ERROR, "", 1, "it failed", (), (ValueError, error, error.__traceback__))
    text = JsonFormatter().format(record)
    assert "ValueError: redis://***@host" in text
    assert "hunter2" not in text
    assert "hunter2" not in PlainFormatter().format(record)


def test_a_plain_line_cannot_command_the_terminal() -> None:
    line = PlainFormatter().format(_record("\x1b[2Jgone\nsecond", path="a\x1b]0;x\x07"))
    assert line.isprintable()


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = logger.handlers, logger.level
    yield logger
    logger.handlers = handlers
    logger.setLevel(level)


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_gets_plain_lines_and_a_file_gets_json(terminal: bool) -> None:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    stream = Stream()
    configure("INFO", stream)
    logging.getLogger("x").info("hello")
    logging.getLogger("x").debug("nothing")
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("info    hello") if terminal else json.loads(line)["message"] == "hello"
