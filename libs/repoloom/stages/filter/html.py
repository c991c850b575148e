"""What a reader sees of an HTML page: the text outside of tags, comments, scripts and style sheets."""

import re

from repoloom.stages.filter.measure import characters

# What is left open runs to the end of the page: browsers read it so, and a search that never fails never goes back.
_INVISIBLE = re.compile(
    rb"<!--.*?(?:-->|\Z)|<(script|style)\b.*?(?:</\1\b[^>]*(?:>|\Z)|\Z)|<[a-z/!?][^>]*(?:>|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_REFERENCE = re.compile(rb"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});", re.IGNORECASE)


def visible_text(page: bytes) -> bytes:
    """The visible text, white space included; each character reference stands as `?`."""
    return _REFERENCE.sub(b"?", _INVISIBLE.sub(b"", page))


def visible_characters(page: bytes) -> int:
    """How many characters of the page are visible: what StarCoder's filter counts (arXiv 2305.06161, section 3.1)."""
    return characters(visible_text(page))
