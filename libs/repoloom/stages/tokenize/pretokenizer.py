"""DeepSeek-Coder's pre-tokenizer: how text is cut before any merge, as its released tokenizer.json has it.

Line breaks alone; letters, and punctuation, each with one space before them; Chinese, Japanese and Korean runs; single
digits; then bytes. Since a line break is always a token of its own, no token crosses a line.
"""

import re

from tokenizers import Regex, pre_tokenizers

_LINE_BREAK = r"[\r\n]"
_LETTERS = r"\s?\p{L}+"
_PUNCTUATION = r"\s?\p{P}+"
_CJK = "[一-龥ࠀ-一가-퟿]+"

_WORD = r"A-Za-z"
_MARKS = r"!\"#%&'()*,\-./:;?@\[\\\]_{}"
_SPACE = r" \t\x0b\x0c"
ASCII_PIECES = re.compile(
    rf"[\n\r]|[{_SPACE}]?(?:[{_WORD}]+|[{_MARKS}]+)|[0-9]"
    rf"|(?:[^{_WORD}{_MARKS}{_SPACE}\r\n0-9]|[{_SPACE}](?![{_WORD}{_MARKS}]))+"
)
"""The same cuts as one expression, right for ASCII text alone: the letters and marks above are all of \\p{L} and \\p{P}
there. What is left, runs of symbols and white space, gives its last white space to the word or mark that follows."""


def pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    """The pre-tokenizer as Hugging Face tokenizers runs and saves it."""
    split = [
        pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in (_LINE_BREAK, _LETTERS, _PUNCTUATION, _CJK)
    ]
    return pre_tokenizers.Sequence(
        [
            *split,
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
