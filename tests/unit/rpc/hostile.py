"""Requests that nobody should send: drawn from the messages' descriptors, with values at every edge or broken bytes."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

INTEGERS = (0, 1, -1, 2, 7, 255, 65_536, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63), 2**64 - 1)
DOUBLES = (0.0, -0.0, 1.0, -1.0, 0.5, 1e300, -1e300, 5e-324, 2.0**53 + 2, float("nan"), float("inf"), float("-inf"))
STRINGS = (
    "", "a", "a/b", "0", "\0", "a\0b", "..", "../../etc/passwd", "/", "/etc/passwd", ".", "a\nb", "\x7f\x1b[2J",
    "\u202eabc", "\U0001f600" * 40, "\ufffe", "%2e%2e/%2e", "\\..\\", "s3://bucket/key", "file:///etc", "http://[::1",
    "{}{0}%s", "'; --", "x" * 5000, "é" * 700, "NaN", "null", " ", "-rf", "operations/filter/" + "0" * 32, "operations",
)  # fmt: skip
PYTHON = b"import os\nfrom . import b\n\n\ndef answer() -> int:\n    return len(os.sep) + 41\n"
CONTENTS = (
    b"", b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"\n", b"x", PYTHON, PYTHON * 40, b"a" * 2000, b"(" * 3000, b"\r\n" * 500,
    "ümläut 漢字 \U0001f600\n".encode() * 30, b"import a\n" * 300, b"<?xml version='1.0'?><a/>", b"{" * 999 + b"}",
    b"\xef\xbb\xbfimport x\n", "import é\n".encode("utf-16"), b"/*" * 500, b"'''" + b"\\" * 999, b"var a = `${" * 200,
    b"#include \"a.h\"\n#include <../b.h>\n", b"from " + b"." * 2000 + b" import x\n", b"word " * 60, bytes(range(256)),
)  # fmt: skip
_NAMED: Mapping[str, Sequence[str]] = {
    "repo": ("a/b", "a/b", "a/b", "c/d", "e"),
    "path": ("a.py", "b.py", "pkg/__init__.py", "c/d.js", "README.md", "x.h", "y.xml", "z.json", "node_modules/q.js"),
    "language": ("Python", "Python", "Python", "JavaScript", "C++", "Markdown", "JSON"),
    "domain": ("code", "english", "chinese"),
    "benchmarks": ("exam", "exam", "none"),
    "page_token": ("", "0000000000000-00000000-" + "0" * 32),
    "filter": ("", "done=true", "done=false", "done = false"),
    "request_id": ("one", "two", "three"),
}


class Hostile:
    """Draws messages. The same seed draws the same ones."""

    def __init__(self, seed: str, words: Mapping[str, Sequence[Any]], tokenizer: bytes) -> None:
        """`words` are values that a field of that name may hold, so that some requests get past the first check."""
        self.random = random.Random(seed)
        self._words = {**_NAMED, **words}
        self._tokenizer = tokenizer

    def requests(self, kind: type[Message], most: int) -> list[bytes]:
        """The messages of one call."""
        count = self.random.choice((0, 1, 1, 1, 2, 3, most))
        found = [self.message(kind.DESCRIPTOR) for _ in range(count)]
        if self._likely(0.7):
            for message in found[1:]:
                for name in ("parameters", "tokenizer", "benchmarks", "texts"):
                    if name in message.DESCRIPTOR.fields_by_name:
                        message.ClearField(name)
        wire = [message.SerializeToString() for message in found]
        return [self.broken(content) if self._likely(0.15) else content for content in wire]

    def message(self, descriptor: Descriptor, depth: int = 0, name: str = "") -> Message:
        """A message of a type, for a field of a name."""
        match descriptor.full_name:
            case "google.protobuf.Struct":
                return self._struct(name)
            case "repoloom.corpus.v1.Document" if self._likely(0.7):
                return self._document(descriptor)
        message = GetMessageClass(descriptor)()
        wild = self._likely(0.2)  # most messages have few faults: those get deepest
        for field in descriptor.fields:
            if field.containing_oneof is not None and self._likely(0.5):
                continue
            if self._likely(0.1):
                continue
            self._fill(message, field, depth, wild)
        return message

    def broken(self, content: bytes) -> bytes:
        """The bytes with something amiss."""
        wire = bytearray(content or b"\x0a\x00")
        for _ in range(self.random.randint(1, 4)):
            at = self.random.randrange(len(wire) + 1)
            match self.random.randrange(6):
                case 0:
                    wire[at : at + 1] = bytes([self.random.randrange(256)])
                case 1:
                    del wire[at:]
                case 2:
                    wire[at:at] = b"\xff" * self.random.randint(1, 12)
                case 3:
                    wire[at:at] = self.random.randbytes(self.random.randint(1, 40))
                case 4:
                    wire[at:at] = wire[: self.random.randint(0, 300)]
                case 5:
                    del wire[at : at + self.random.randint(1, 20)]
        return bytes(wire)

    def _fill(self, message: Message, field: FieldDescriptor, depth: int, wild: bool) -> None:
        if field.is_repeated:
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                return
            many = self.random.choice((0, 1, 1, 2, 3, 40)) if depth < 2 else self.random.choice((0, 1))
            values = [self._value(field, depth, wild) for _ in range(many)]
            getattr(message, field.name).extend(values)
        elif field.message_type is not None:
            if depth < 6:
                getattr(message, field.name).CopyFrom(self.message(field.message_type, depth + 1, field.name))
        else:
            setattr(message, field.name, self._value(field, depth, wild))

    def _value(self, field: FieldDescriptor, depth: int, wild: bool) -> Any:
        if field.message_type is not None:
            return self.message(field.message_type, depth + 1)
        wild = wild and self._likely(0.4)
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
                return self._tokenizer_json() if field.name == "json" else self.content()
            case FieldDescriptor.CPPTYPE_STRING:
                usual = self._words.get(field.name)
                if usual and not wild:
                    return self.random.choice(usual)
                return self.random.choice(STRINGS) if wild or self._likely(0.3) else ""
            case FieldDescriptor.CPPTYPE_BOOL:
                return self._likely(0.5)
            case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
                return self.random.choice(DOUBLES) if wild else float(self.random.randrange(3))
            case FieldDescriptor.CPPTYPE_ENUM:
                return self.random.randrange(4)
            case _:
                return self._integer(field, wild)

    def _integer(self, field: FieldDescriptor, wild: bool) -> int:
        bits = 32 if "32" in _TYPE[field.cpp_type] else 64
        low, high = (0, 2**bits - 1) if "U" in _TYPE[field.cpp_type] else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        if wild:
            return self.random.choice([number for number in INTEGERS if low <= number <= high])
        return self.random.choice((0, 0, 0, 1, 2, 300))

    def content(self) -> bytes:
        """Something that a file may hold."""
        some = self.random.choice(CONTENTS)
        return some + self.random.choice(CONTENTS) if self._likely(0.2) else some

    def _document(self, descriptor: Descriptor) -> Message:
        """A document whose spans may well be right."""
        parts = [self.content() for _ in range(self.random.randint(0, 4))]
        if self._likely(0.8):
            parts = [part.decode("utf-8", "replace").replace("\0", "").encode() for part in parts]
        message = GetMessageClass(descriptor)(
            repo=self.random.choice(self._words["repo"]), document=self.random.randrange(3), text=b"".join(parts)
        )
        at = 0
        for part in parts:
            shift = self.random.choice(INTEGERS[:5]) if self._likely(0.03) else 0
            path, language = (self.random.choice(self._words[name]) for name in ("path", "language"))
            size = self.random.choice((0, len(part), 2**63 - 1))
            message.spans.add(  # type: ignore[attr-defined]
                path=path, language=language, head=at, start=at + shift, end=at + len(part), size=size
            )
            at += len(part)
        return message

    def _struct(self, name: str) -> Message:
        from google.protobuf.struct_pb2 import Struct

        struct = Struct()
        if name == "source":
            struct.update(self.random.choice(self._words["source"]))
        else:
            for key in self.random.sample(self._words["parameters"], min(2, len(self._words["parameters"]))):
                if self._likely(0.15):
                    self._json(struct.fields[key], 0)
        if self._likely(0.05):
            self._json(struct.fields[self.random.choice(STRINGS)], 0)
        return struct

    def _json(self, value: Any, depth: int) -> None:
        """Fills a google.protobuf.Value, a few of them deep enough to be refused."""
        match self.random.randrange(8 if depth < 4 else 5):
            case 0:
                value.number_value = self.random.choice((*DOUBLES, 1.0, 0.5, 100.0, 4096.0, 65536.0, 1e18, 2.0**63))
            case 1:
                value.string_value = self.random.choice(STRINGS)
            case 2:
                value.bool_value = self._likely(0.5)
            case 3:
                value.null_value = 0
            case 4:
                return  # a value of no kind
            case 5:
                for _ in range(self.random.randrange(4)):
                    self._json(value.list_value.values.add(), depth + 1)
            case 6:
                self._json(value.struct_value.fields[self.random.choice(STRINGS)], depth + 1)
            case 7:
                for _ in range(self.random.choice((5, 20, 45))):
                    value = value.list_value.values.add()
                value.number_value = 1

    def _tokenizer_json(self) -> bytes:
        if self._likely(0.5):
            return self._tokenizer
        if self._likely(0.2):
            return self.broken(self._tokenizer)
        described = json.loads(self._tokenizer)
        for _ in range(self.random.randint(1, 2)):
            self._twist(described)
        return json.dumps(described).encode()

    def _twist(self, described: Any) -> None:
        """Changes one value somewhere in a JSON document."""
        twists: list[Callable[[], Any]] = [
            lambda: None,
            dict,
            list,
            lambda: self.random.choice(INTEGERS),
            lambda: self.random.choice(STRINGS),
            lambda: {"type": self.random.choice(("Sequence", "Lowercase", "NFC", "Prepend", "Fuse", "WordLevel"))},
            lambda: {"strategy": {"Fixed": 1 << 40}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                     "pad_type_id": 0, "pad_token": "x"},
            lambda: {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": "b"},
        ]  # fmt: skip
        while True:
            keys = list(described) if isinstance(described, dict) else range(len(described))
            if not keys:
                return
            key = self.random.choice(keys)
            inner = described[key]
            if not isinstance(inner, dict | list) or not inner or self._likely(0.3):
                described[key] = self.random.choice(twists)()
                return
            described = inner

    def _likely(self, share: float) -> bool:
        return self.random.random() < share


_TYPE = {
    getattr(FieldDescriptor, name): name
    for name in ("CPPTYPE_INT32", "CPPTYPE_INT64", "CPPTYPE_UINT32", "CPPTYPE_UINT64")
}
