"""Conversations from JSON lines: whatever a line holds, it is a conversation or an error with file and line."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from repoloom.errors import CorruptDataError, InputError, TooLargeError
from repoloom.prompts.chat import Message, Role
from repoloom.store import open_store
from repoloom.training.config import InstructSource

LONGEST_LINE = 8 << 20  # bytes: some hundred times what a model reads at once
LARGEST_FILE = 32 << 30  # bytes: some four times the paper's 2B tokens
_SAID = 100  # characters of what an error quotes

_ASKED = (("instruction", "input"), ("prompt", ""))
"""What is asked, and what it is asked of; Alpaca's names, and those of completion APIs."""
_ANSWERED = ("output", "response", "completion")
_FORMS = "give `messages`, or `instruction` or `prompt` with one of " + ", ".join(f"`{name}`" for name in _ANSWERED)


class Conversation(NamedTuple):
    """One line."""

    line: int  # of its file, from 1
    messages: tuple[Message, ...]

    @property
    def text(self) -> str:
        """All that is said in it."""
        return "\n".join(message.content for message in self.messages)


def pin(source: InstructSource) -> InstructSource:
    """The source with the digest of its file as it is now, every line of it looked at. Raises InputError."""
    digest = hashlib.sha256()
    for line in _lines(source.path):
        digest.update(line.content)
        _conversation(line)
    if source.sha256 not in ("", digest.hexdigest()):
        raise InputError(f"{source.path} is {digest.hexdigest()}, and {source.sha256} was meant")
    return source.model_copy(update={"sha256": digest.hexdigest()})


def read(source: InstructSource) -> Iterator[Conversation]:
    """The conversations of a pinned source. Raises InputError; CorruptDataError where it is another one by now."""
    digest = hashlib.sha256()
    for line in _lines(source.path):
        digest.update(line.content)
        if found := _conversation(line):
            yield found
    if digest.hexdigest() != source.sha256:
        raise CorruptDataError(f"{source.path} changed while it was used; run again")


class _Line(NamedTuple):
    path: str
    number: int
    content: bytes

    def wrong(self, why: object) -> InputError:
        return InputError(f"{self.path}:{self.number}: {why}")


def _lines(path: str) -> Iterator[_Line]:
    """Raises InputError."""
    number = size = 0
    with _opened(path) as file:
        while content := file.readline(LONGEST_LINE + 1):
            number, size = number + 1, size + len(content)
            line = _Line(path, number, content)
            if len(content) > LONGEST_LINE:
                raise TooLargeError(f"{path}:{number}: the line is longer than {LONGEST_LINE >> 20} MiB")
            if size > LARGEST_FILE:
                raise TooLargeError(f"{path} is larger than {LARGEST_FILE >> 30} GiB; split it into several sources")
            yield line


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """A file of this machine, or an object of a store. Raises InputError."""
    try:
        if "://" in path:
            folder, _, key = path.rpartition("/")
            with open_store(folder).open(key) as found:
                yield found  # type: ignore[misc]  # a buffered reader is a binary file in all but name
        else:
            with Path(path).open("rb") as file:
                yield file
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or 'there is no such object'}") from None


def _conversation(line: _Line) -> Conversation | None:
    """None for a line of white space. Raises InputError."""
    if not line.content.strip():
        return None
    try:
        row = json.loads(line.content.decode())
    except RecursionError:
        raise line.wrong("not JSON that can be read: it is nested too deeply") from None
    except ValueError as error:
        raise line.wrong(f"not JSON: {error}") from None
    try:
        return Conversation(line.number, tuple(_messages(row)))
    except InputError as error:
        raise line.wrong(error) from None


def _messages(row: Any) -> Iterator[Message]:  # noqa: ANN401 - JSON
    """The messages of a row of any form. Raises InputError that says what is wrong with it."""
    if not isinstance(row, dict):
        raise InputError(f"a conversation is an object, this is {_kind(row)}")
    if "messages" in row:
        yield from _given(row["messages"])
        return
    asked = next(((name, more) for name, more in _ASKED if name in row), None)
    answered = [name for name in _ANSWERED if name in row]
    if asked is None or len(answered) != 1:
        raise InputError(f"{_FORMS}; it has {', '.join(f'`{_short(name)}`' for name in row) or 'nothing'}")
    if row.get("system"):
        yield Message(Role.SYSTEM, _text(row, "system"))
    name, more = asked
    question = _text(row, name)
    yield Message(Role.USER, f"{question}\n{_text(row, more)}" if more and row.get(more) else question)
    yield Message(Role.ASSISTANT, _text(row, answered[0]))


def _given(messages: Any) -> Iterator[Message]:  # noqa: ANN401 - JSON
    """A list of messages: perhaps one of the system, then user and assistant by turns. Raises InputError."""
    if not isinstance(messages, list):
        raise InputError(f"`messages` is a list, this is {_kind(messages)}")
    turns = 0
    for number, message in enumerate(messages):
        where = f"`messages`[{number}]"
        if not isinstance(message, dict):
            raise InputError(f"{where} is an object with `role` and `content`, this is {_kind(message)}")
        role = message.get("role")
        due = (Role.USER, Role.ASSISTANT)[turns % 2]
        if role == Role.SYSTEM and number == 0:
            yield Message(Role.SYSTEM, _text(message, "content", where))
            continue
        if role != due:
            allowed = f"{Role.SYSTEM} or {Role.USER}" if number == 0 else str(due)
            raise InputError(f"{where} is to be of the role {allowed}, and is of {_short(role)!r}")
        turns += 1
        yield Message(due, _text(message, "content", where))
    if turns == 0 or turns % 2:
        raise InputError("`messages` ends without a response of the assistant")


def _text(row: Mapping[str, Any], name: str, where: str = "") -> str:
    """Raises InputError where there is none."""
    named = f"{where} `{name}`".strip()
    value = row.get(name)
    if not isinstance(value, str):
        raise InputError(f"{named} is text, this is {_kind(value)}")
    if not value.strip():
        raise InputError(f"{named} is empty")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(f"{named} holds half of a surrogate pair, which is no text") from None
    return value


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value", type(None): "nothing"}
    return names.get(type(value), "a number")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _SAID else f"{text[:_SAID]}…"
