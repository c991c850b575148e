"""From bytes to text: valid UTF-8 without byte order mark, NUL or carriage return, or the reason why not.

Only what a file declares itself is transcoded: a byte order mark is proof, anything else would be a guess.
"""

import codecs
from typing import NamedTuple

_UTF_32_AND_16 = (  # the mark of UTF-32 LE begins with that of UTF-16 LE
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class NotText(NamedTuple):
    """Why bytes are no text, and where that showed."""

    rule: str  # "binary", "not_utf8" or "empty"
    offset: int
    detail: str


def decode(content: bytes) -> bytes | NotText:
    r"""Text as UTF-8 with `\n` for line breaks.

    Lone surrogates and overlong forms (CESU-8, WTF-8, Modified UTF-8) are not UTF-8 (RFC 3629).
    """
    for mark, encoding in _UTF_32_AND_16:
        if content.startswith(mark):
            try:
                content = content[len(mark) :].decode(encoding).encode()
            except UnicodeDecodeError as error:
                return NotText("not_utf8", len(mark) + error.start, f"{encoding}: {error.reason}")
            break
    content = content.removeprefix(codecs.BOM_UTF8)
    nul = content.find(b"\0")
    if nul >= 0:
        return NotText("binary", nul, "NUL byte")
    if not content.isascii():
        try:
            blank = content.decode().isspace()
        except UnicodeDecodeError as error:
            return NotText("not_utf8", error.start, error.reason)
    else:
        blank = content.isspace()
    if blank or not content:
        return NotText("empty", 0, "")
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return content
