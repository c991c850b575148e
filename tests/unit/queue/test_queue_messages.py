"""What travels arrives as it was sent, or is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from repoloom.engine.pool import Limits
from repoloom.engine.queue.message import Envelope, Hint
from repoloom.engine.step import Queue
from repoloom.engine.task import Attempt, Kind, Task
from repoloom.errors import InputError

TASK = Task(step="filter", version=1, params={"a": [1, "ü"]}, inputs={}, root="s3://bucket/x")
ENVELOPE = Envelope(run="0" * 32, queue=Queue.HIGHMEM, number=7, limits=Limits(), task=TASK)
ATTEMPT = Attempt(kind=Kind.CRASH, error="it fell", at="a/b")


def test_an_envelope_arrives_as_it_was_sent() -> None:
    assert Envelope.parse(ENVELOPE.model_dump_json()) == ENVELOPE


@given(st.text() | st.binary() | st.integers() | st.none())
def test_anything_else_is_refused_without_being_quoted(text: object) -> None:
    with pytest.raises(InputError) as refused:
        Envelope.parse(text)
    assert "https://" not in str(refused.value)


@pytest.mark.parametrize(
    "change", [{"run": "0" * 31}, {"number": 0}, {"more": 1}, {"queue": "gpu"}, {"limits": {"memory_bytes": 1}}]
)
def test_an_envelope_with_anything_odd_is_refused(change: dict[str, object]) -> None:
    text = json.dumps({**json.loads(ENVELOPE.model_dump_json()), **change})
    with pytest.raises(InputError):
        Envelope.parse(text)


@pytest.mark.parametrize(
    "hint", [Hint(task=TASK.key), Hint(task=TASK.key, attempt=ATTEMPT), Hint(task=TASK.key, fatal="no")]
)
def test_a_hint_arrives_as_it_was_sent(hint: Hint) -> None:
    assert Hint.model_validate_json(hint.model_dump_json()) == hint


def test_a_hint_says_one_thing_and_carries_no_commit() -> None:
    with pytest.raises(ValidationError):
        Hint(task=TASK.key, fatal="no", attempt=ATTEMPT)
    with pytest.raises(ValidationError):
        Hint.model_validate({"task": TASK.key, "commit": {}})
