"""How much a message on the wire becomes once it is parsed: a row of two bytes is an object of more than a hundred.

gRPC bounds the bytes of a message, which for 16 MiB of empty rows bounds memory to more than 1 GiB; so their number is
bounded as well, before they are parsed.
"""

from google.protobuf.descriptor import Descriptor

from repoloom.errors import InputError, TooLargeError

PARTS = 1 << 17
"""Rows, texts and other parts of variable length that one message may have, those of its rows included."""

FIELDS = 1 << 19
"""Fields of any kind that one message may have, those of its rows included: to count them takes time as well."""

_LONGEST_VARINT = 63  # bits before its last byte
_LEAST_BYTES = 2  # of a part

LIGHT_BYTES = PARTS * _LEAST_BYTES
"""A message of so many has no more than `PARTS`: nothing of it is counted."""


def check_parts(content: bytes, kind: Descriptor, most: int = PARTS) -> None:
    """Raises TooLargeError for a message of more than `most` parts, InputError for one seen to break off in one.

    What has too few bytes to hold more is left to the parser.
    """
    try:
        if _has_more(content, kind, most):
            raise TooLargeError(f"a message has more than {most} rows and fields; send them in several")
    except IndexError:  # a parser would find that out last of all, with all that stands before in memory
        raise InputError("a message ends within a field") from None


def _has_more(content: bytes, kind: Descriptor, most: int) -> bool:
    """Reads no further than until what is unread has too few bytes to matter."""
    count = fields = 0
    waiting, unread = [(kind, 0, len(content))], len(content)
    while waiting and count + unread // _LEAST_BYTES > most:
        kind, at, end = waiting.pop()
        unread -= end - at
        while at < end:
            tag, at = _varint(content, at)
            fields += 1
            if fields > FIELDS:
                return True
            match tag & 7:  # the wire type; the begin and end of a group, 3 and 4, have nothing after them
                case 0:  # a varint
                    _, at = _varint(content, at)
                case 1:  # 64 bits
                    at += 8
                case 2:  # a part
                    size, at = _varint(content, at)
                    count += 1
                    if count > most:
                        return True
                    field = kind.fields_by_number.get(tag >> 3)
                    if field is not None and field.message_type is not None:
                        waiting.append((field.message_type, at, at + size))
                        unread += size
                    at += size
                case 5:  # 32 bits
                    at += 4
    return False


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = content[at]
    at += 1
    if value < 0x80:
        return value, at
    value &= 0x7F
    shift = 7
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > _LONGEST_VARINT:
            raise IndexError("no number is that long")
