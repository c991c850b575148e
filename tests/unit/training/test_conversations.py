"""Conversations: the forms that are common, and for whatever else a line holds an error with file and line."""

import json
from pathlib import Path

import pytest

from repoloom.errors import CorruptDataError, InputError
from repoloom.prompts.chat import Message, Role
from repoloom.training import conversations
from repoloom.training.config import InstructSource
from repoloom.training.conversations import Conversation, pin, read

ASKED = (Message(Role.USER, "Add one."), Message(Role.ASSISTANT, "x + 1"))


def source(folder: Path, *lines: object) -> InstructSource:
    path = folder / "chat.jsonl"
    path.write_bytes(
        b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
    )
    return InstructSource(path=str(path))


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "Add one.", "input": "", "output": "x + 1"},
        {"instruction": "Add one.", "response": "x + 1", "id": 7},
        {"prompt": "Add one.", "completion": "x + 1"},
        {"messages": [{"role": "user", "content": "Add one."}, {"role": "assistant", "content": "x + 1"}]},
    ],
)
def test_the_common_forms_are_one_conversation(tmp_path: Path, row: object) -> None:
    assert list(read(pin(source(tmp_path, row)))) == [Conversation(1, ASKED)]


def test_an_input_follows_its_instruction_and_a_system_message_goes_before(tmp_path: Path) -> None:
    row = {"system": "Be brief.", "instruction": "Add one.", "input": "x", "output": "x + 1"}
    (found,) = read(pin(source(tmp_path, row)))
    assert found.messages == (
        Message(Role.SYSTEM, "Be brief."),
        Message(Role.USER, "Add one.\nx"),
        Message(Role.ASSISTANT, "x + 1"),
    )


def test_lines_keep_their_numbers_where_blank_ones_stand_between(tmp_path: Path) -> None:
    row = {"prompt": "Add one.", "completion": "x + 1"}
    assert [found.line for found in read(pin(source(tmp_path, row, b"", b"  ", row)))] == [1, 4]


def turns(*roles: object) -> dict[str, object]:
    return {"messages": [{"role": role, "content": "a"} for role in roles]}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{", "not JSON: "),
        (b"[" * 100_000, "nested too deeply"),
        (b"\xff", "not JSON: 'utf-8' codec"),
        (b'{"prompt": 1' + b"0" * 5000 + b"}", "not JSON: "),
        ([], "a conversation is an object, this is a list"),
        ({"text": "a"}, r"give `messages`, or .*; it has `text`"),
        ({"prompt": "a", "output": "b", "response": "c"}, "with one of `output`, `response`, `completion`"),
        ({"instruction": "a", "output": ""}, "`output` is empty"),
        ({"instruction": "a", "output": None}, "`output` is text, this is nothing"),
        ({"instruction": "a", "input": 3, "output": "b"}, "`input` is text, this is a number"),
        ({"prompt": "a", "completion": "\ud800"}, "half of a surrogate pair"),
        ({"messages": {}}, "`messages` is a list, this is an object"),
        ({"messages": ["a"]}, r"`messages`\[0\] is an object with"),
        ({"messages": []}, "ends without a response"),
        (turns("user"), "ends without a response"),
        (turns("assistant"), r"`messages`\[0\] is to be of the role system or user, and is of 'assistant'"),
        (turns("user", "user"), r"`messages`\[1\] is to be of the role assistant, and is of 'user'"),
        (turns("user", "tool"), r"`messages`\[1\] is to be of the role assistant, and is of 'tool'"),
        (turns("user", "assistant", "system"), r"`messages`\[2\] is to be of the role user, and is of 'system'"),
        (turns("user", "a" * 1000), r"is of 'a{100}…'"),
        ({"messages": [{"role": "user", "content": ["a"]}]}, r"`messages`\[0\] `content` is text, this is a list"),
    ],
)
def test_a_line_that_is_no_conversation_is_an_error_with_file_and_line(tmp_path: Path, line: object, why: str) -> None:
    given = source(tmp_path, {"prompt": "a", "completion": "b"}, line)
    with pytest.raises(InputError, match=why) as caught:
        pin(given)
    assert str(caught.value).startswith(f"{given.path}:2: ")


def test_what_is_too_large_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = source(tmp_path, {"prompt": "a", "completion": "b" * 100})
    with monkeypatch.context() as small:
        small.setattr(conversations, "LONGEST_LINE", 50)
        with pytest.raises(InputError, match=r"chat.jsonl:1: the line is longer than"):
            pin(given)
    monkeypatch.setattr(conversations, "LARGEST_FILE", 50)
    with pytest.raises(InputError, match=r"chat.jsonl is larger than .*; split it"):
        pin(given)


def test_a_file_is_the_one_that_was_pinned(tmp_path: Path) -> None:
    pinned = pin(source(tmp_path, {"prompt": "a", "completion": "b"}))
    assert pin(pinned) == pinned
    source(tmp_path, {"prompt": "a", "completion": "c"})
    with pytest.raises(InputError, match=f"and {pinned.sha256} was meant"):
        pin(pinned)
    with pytest.raises(CorruptDataError, match="changed while it was used"):
        list(read(pinned))


def test_a_file_may_lie_in_a_store(tmp_path: Path) -> None:
    given = source(tmp_path, {"prompt": "Add one.", "completion": "x + 1"})
    assert list(read(pin(InstructSource(path=f"file://{given.path}")))) == [Conversation(1, ASKED)]
    with pytest.raises(InputError, match=r"nowhere.jsonl cannot be read"):
        pin(InstructSource(path=f"file://{tmp_path}/nowhere.jsonl"))
    with pytest.raises(InputError, match=r"nowhere.jsonl cannot be read: No such file"):
        pin(InstructSource(path=str(tmp_path / "nowhere.jsonl")))
