"""The line above a file that names its path, as a comment of the file's own language (arXiv 2401.14196 section 2.2)."""

import re

from repoloom.corpus.languages import by_name

_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""What would break the line, hide or reorder its text (Unicode 3.0-16.0 controls), or cannot be encoded."""

_LEAVES_COMMENT = re.compile(r"\\(?=u)|\?>|%>|(?:\\|\?\?/)\Z")
"""What ends a line comment: a Unicode escape in Java (JLS 3.3), the end tags of PHP and JSP, a continued line."""

_WITHOUT_COMMENTS = {"JSON": "//", "Jupyter Notebook": "//"}  # as in JSON with comments; else "#"


def path_header(path: str, language: str) -> str:
    """The comment and its line break; valid UTF-8 and one line whatever the path holds.

    Args:
        path: as in the files table, e.g. "src/util.py".
        language: a name of `corpus.languages`, or "" for a file of none.

    Raises:
        InputError: no language has that name.
    """
    known = by_name(language) if language else None
    path = _UNPRINTABLE.sub(_escaped, path)
    if known and known.line_comment is None and known.block_comment:
        opening, closing = known.block_comment
        for mark in (opening, closing, "--" if opening == "<!--" else closing):  # XML 1.0, 2.5: no "--" in a comment
            path = path.replace(mark, mark[:-1] + _escape(mark[-1]))
        return f"{opening} {path} {closing}\n"
    comment = known.line_comment if known and known.line_comment else _WITHOUT_COMMENTS.get(language, "#")
    return f"{comment} {_LEAVES_COMMENT.sub(_escaped, path)}\n"


def _escaped(found: re.Match[str]) -> str:
    return "".join(map(_escape, found[0]))


def _escape(character: str) -> str:
    return f"\\x{{{ord(character):x}}}"
