"""The rules by which a file is dropped: what shows, or measures, that it is not worth reading, in a fixed order.

The numbers are those of arXiv 2401.14196, section 2.1, which takes them from StarCoder (arXiv 2305.06161, section 3.1).
Which languages a rule does not apply to is StarCoder's result of looking at samples of each extension: the columns
"Long line filter" and "Alpha filter" of the table published with its filters (bigcode-dataset, visual_inspection.csv).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from pydantic import Field

from repoloom.engine.step import Params
from repoloom.stages.filter import measure
from repoloom.stages.filter.generated import generated
from repoloom.stages.filter.html import visible_characters
from repoloom.stages.filter.vendored import vendored


class FilterParams(Params):
    """What the rules allow; each field has the name of its rule."""

    average_line_length: float = Field(default=100, gt=0, description="Characters a line on average, at most.")
    max_line_length: int = Field(default=1000, gt=0, description="Characters of the longest line, at most.")
    max_long_line_length: int = Field(
        default=100_000, gt=0, description="The same where long lines are ordinary (arXiv 2402.19173 section 3.2.2)."
    )
    alphabetic: float = Field(default=0.25, ge=0, le=1, description="Share of letters, at least.")
    html_visible_share: float = Field(default=0.2, ge=0, le=1, description="Share of visible text in HTML, at least.")
    html_visible_characters: int = Field(default=100, ge=0, description="Visible characters of HTML, at least.")
    min_characters: int = Field(default=50, ge=0, description="Characters of JSON and YAML, at least.")
    max_characters: int = Field(default=5000, gt=0, description="Characters of JSON and YAML, at most.")
    max_encoded_run: int = Field(
        default=1024, gt=0, description="Length of a run of encoded data, at most (arXiv 2402.19173 section 3.2.2)."
    )
    max_encoded_share: float = Field(default=0.5, ge=0, le=1, description="Share of encoded data, at most (the same).")


class Failed(NamedTuple):
    """The rule that a file fails, with what was measured and allowed, or what was found."""

    rule: str
    value: float | None = None
    threshold: float | None = None
    detail: str = ""


LONG_LINES = frozenset(
    {"Bluespec", "CMake", "JSON", "Jupyter Notebook", "Markdown", "Mathematica", "MATLAB", "R", "reStructuredText"}
    | {"RMarkdown", "SQL", "Stata", "TeX", "Text"}
)
"""Languages that break lines where they like: StarCoder's, Text as Markdown, and notebooks as the JSON they are."""

FEW_LETTERS = frozenset({"Assembly", "SAS", "Stata"})
"""Languages whose good files have few letters (StarCoder's table)."""

DATA = frozenset({"JSON", "YAML"})

_XML_HEAD = 100
"""Characters in which an XML declaration is looked for."""

_MINIFIED_LINE = 110
"""Average line length from which Linguist takes a script or style sheet to be minified."""


@dataclass(frozen=True)
class File:
    """A file under judgement; measures are taken when a rule asks for them, and once."""

    path: str
    language: str
    text: bytes

    @cached_property
    def lines(self) -> measure.Lines:
        return measure.lines(self.text)

    @cached_property
    def characters(self) -> int:
        return measure.characters(self.text)

    @cached_property
    def encoded(self) -> measure.Encoded:
        return measure.encoded(self.text)

    @cached_property
    def visible(self) -> int:
        return visible_characters(self.text)


def minified(file: File) -> str | None:
    """Scripts and style sheets that a minifier wrote, by name or by shape."""
    name = file.path.rpartition("/")[2].lower()
    if name.endswith((".min.js", "-min.js", ".min.css", "-min.css", ".min.mjs", ".min.cjs")):
        return name
    if file.language in {"JavaScript", "CSS"} and file.lines.average > _MINIFIED_LINE:
        return f"{file.lines.average:.0f} characters a line"
    return None


def xml(file: File) -> str | None:
    """XML under another name. XSLT is XML by right."""
    declaration = "<?xml version="
    if file.language != "XSLT" and declaration in file.text[: 4 * _XML_HEAD].decode(errors="ignore")[:_XML_HEAD]:
        return declaration
    return None


Found = Callable[[File], str | None]
SIGNS: tuple[tuple[str, Found], ...] = (
    ("vendored", lambda file: vendored(file.path)),
    ("generated", lambda file: generated(file.path, file.language, file.text)),
    ("minified", minified),
    ("xml", xml),
)
"""What is told by a sign: the rule, and a function that gives the sign or None."""


class Bound(NamedTuple):
    """A measure and what it may be at the least or at the most."""

    rule: str
    measure: Callable[[File], float]
    least: float | None = None
    most: float | None = None


def bounds(language: str, params: FilterParams) -> Iterator[Bound]:
    """The measured rules that a language is held to, in order."""
    if language in LONG_LINES:
        yield Bound("max_line_length", lambda file: file.lines.longest, most=params.max_long_line_length)
    else:
        yield Bound("average_line_length", lambda file: file.lines.average, most=params.average_line_length)
        yield Bound("max_line_length", lambda file: file.lines.longest, most=params.max_line_length)
    if language not in FEW_LETTERS:
        yield Bound("alphabetic", lambda file: measure.alphabetic(file.text), least=params.alphabetic)
    if language in DATA:
        yield Bound("min_characters", lambda file: file.characters, least=params.min_characters)
        yield Bound("max_characters", lambda file: file.characters, most=params.max_characters)
    if language == "HTML":
        yield Bound("html_visible_characters", lambda file: file.visible, least=params.html_visible_characters)
        yield Bound("html_visible_share", lambda file: file.visible / file.characters, least=params.html_visible_share)
    yield Bound("encoded_run", lambda file: file.encoded.longest, most=params.max_encoded_run)
    yield Bound("encoded_share", lambda file: file.encoded.share, most=params.max_encoded_share)


def first_failed(file: File, params: FilterParams) -> Failed | None:
    """The first rule that a file fails, or None where it passes all."""
    for rule, sign in SIGNS:
        if (found := sign(file)) is not None:
            return Failed(rule, detail=found)
    for rule, measured, least, most in bounds(file.language, params):
        value = measured(file)
        if least is not None and value < least:
            return Failed(rule, value, least)
        if most is not None and value > most:
            return Failed(rule, value, most)
    return None
