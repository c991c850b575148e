"""Quality: how the scores are spread."""

from repoloom.corpus.manifest import Record
from repoloom.report.tables import Tables


class Quality(Record):
    """The scores of all files."""

    scored: int


def quality(tables: Tables) -> Quality | None:
    return None
