"""What models are measured on: files that no training document holds, and holes in them."""

import hashlib
import heapq
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from repoloom.corpus.languages import by_name

CONTEXT_CHARACTERS = 1 << 16
"""On either side of a hole: more than 4,096 tokens of code."""


@dataclass(frozen=True, slots=True)
class HeldOutFile:
    """A file as training would have rendered it."""

    repo: str
    path: str
    language: str
    header: str  # its path comment with its line break
    content: str


@dataclass(frozen=True, slots=True, order=True)
class Hole:
    """A line taken out of a file."""

    repo: str
    path: str
    language: str
    prefix: str
    line: str  # without its line break
    suffix: str


def draw_holes(files: Iterable[HeldOutFile], count: int, seed: int) -> list[Hole]:
    """At most `count` holes, drawn by the hash of seed, file and line: one from each file before a second from any.

    A pure function of the set of files, whatever their order; holds `count` holes at a time.
    """
    chosen: list[tuple[int, int, str, str, Hole]] = []
    for file in files:
        drawn = sorted((_draw(seed, file, start), start, end) for start, end in lines_worth_filling(file))
        for turn, (draw, start, end) in enumerate(drawn[:count]):
            entry = (-turn, -draw, file.repo, file.path, _hole(file, start, end))
            if len(chosen) < count:
                heapq.heappush(chosen, entry)
            elif entry > chosen[0]:
                heapq.heapreplace(chosen, entry)
            else:
                break
    return [hole for *_, hole in sorted(chosen, key=lambda entry: entry[:4], reverse=True)]


def lines_worth_filling(file: HeldOutFile) -> Iterator[tuple[int, int]]:
    """Start and end of the content's lines that hold code: three characters, a letter or digit, no mere comment."""
    language = by_name(file.language)
    markers = [marker for marker in (language.line_comment, *(language.block_comment or ())) if marker]
    if language.block_comment == ("/*", "*/"):
        markers.append("*")  # how its middle lines begin
    for line in re.finditer(r"[^\n]+", file.content):
        code = line[0].strip()
        if len("".join(code.split())) >= 3 and re.search(r"\w", code) and not code.startswith(tuple(markers)):
            yield line.span()


def _hole(file: HeldOutFile, start: int, end: int) -> Hole:
    prefix = (file.header + file.content[:start])[-CONTEXT_CHARACTERS:]
    suffix = file.content[end : end + CONTEXT_CHARACTERS]
    return Hole(file.repo, file.path, file.language, prefix, file.content[start:end], suffix)


def _draw(seed: int, file: HeldOutFile, start: int) -> int:
    key = f"{seed}/{file.repo}/{file.path}/{start}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(key, digest_size=8, person=b"repoloom.hole").digest(), "big")
