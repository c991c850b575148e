"""What a code repository's prose counts as: the paper mixes GitHub's Markdown in as English about code."""

import numpy as np

from repoloom.corpus.languages import PROSE

_CODE = "code"
PROSE_DOMAINS = ("chinese", "english")
_PROSE = frozenset(language.name for language in PROSE)
_CHINESE_SHARE = 0.15  # of the bytes; below it a page that quotes some Chinese is not Chinese


def domain(given: str, language: str, text: bytes) -> str:
    """The domain of a file whose source says `given`: prose of a code repository is `english` or `chinese`.

    Everything else stays what its source says. (arXiv 2401.14196 section 2)
    """
    if given != _CODE or language not in _PROSE:
        return given
    lead_bytes = np.frombuffer(text, dtype=np.uint8)
    chinese = np.count_nonzero((lead_bytes >= 0xE4) & (lead_bytes <= 0xE9))  # of U+4000 to U+9FFF, three bytes each
    return "chinese" if 3 * chinese > _CHINESE_SHARE * max(1, len(text)) else "english"
