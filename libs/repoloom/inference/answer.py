"""The text of an answer while it grows: whole characters, and nothing of a text to stop at."""

import codecs
from collections.abc import Collection, Mapping, Sequence

MAX_STOPS = 4
MAX_STOP_CHARACTERS = 256
"""Of each text to stop at. All are looked for at each token, in the thread that everybody's tokens come from."""


class Answer:
    """Tokens in, text out.

    What may turn out to begin a text to stop at, or is the beginning of a character, is held back until it is known.
    """

    def __init__(self, spelled: Mapping[int, bytes], ends: Collection[int], stops: Sequence[str]) -> None:
        """`spelled` are the bytes of each token, `ends` the tokens that end an answer, `stops` not empty texts."""
        self._spelled = spelled
        self._ends = ends
        self._stops = stops
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.tokens = 0  # those that were taken, the last one too
        self.stopped = False

    def take(self, token: int) -> str:
        """The text that is certain with this token. Once `stopped` is set there is no more, and nothing is to come."""
        self.tokens += 1
        if token in self._ends:
            self.stopped = True
            return self.rest()
        return self._pass(self._decoder.decode(self._spelled[token]))

    def rest(self) -> str:
        """What was held back, where no token follows."""
        text = self._pass(self._decoder.decode(b"", final=True))
        held, self._held = self._held, ""
        return text + held

    def _pass(self, text: str) -> str:
        text = self._held + text
        if found := [at for stop in self._stops if (at := text.find(stop)) >= 0]:
            self.stopped = True
            self._held = ""
            return text[: min(found)]
        kept = max((_overlap(text, stop) for stop in self._stops), default=0)
        certain, self._held = text[: len(text) - kept], text[len(text) - kept :]
        return certain


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of a text begin `stop`, short of all of it."""
    start = max(0, len(text) - len(stop) + 1)
    while (start := text.find(stop[0], start)) >= 0:
        if stop.startswith(text[start:]):
            return len(text) - start
        start += 1
    return 0
