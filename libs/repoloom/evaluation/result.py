"""What an evaluation found, as JSON has it."""

from repoloom.corpus.manifest import Record


class Scores(Record):
    """What a model reaches; None where there was nothing to measure."""

    bits_per_byte: float | None
    exact_match: float | None  # share of the holes that it filled with what had stood there
    edit_similarity: float | None  # mean over the holes, 1: equal


class Compared(Record):
    """Both models on the same text."""

    name: str  # of the language; "" for all of them together
    bytes: int
    holes: int
    trained: Scores
    untrained: Scores


class Sample(Record):
    """A hole in a held-out file, and what the trained model wrote into it."""

    repo: str
    path: str
    language: str
    prefix: str
    truth: str
    suffix: str
    written: str
    exact: bool


class Evaluation(Record):
    """The trained model beside a freshly initialised one of the same shape."""

    overall: Compared
    languages: tuple[Compared, ...]  # by name
    samples: tuple[Sample, ...]
