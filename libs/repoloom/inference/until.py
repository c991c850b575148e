"""Where a completion ends."""

from enum import StrEnum


class Until(StrEnum):
    """Where a completion ends."""

    LINE = "line"
    """Before the line break that follows its first text, or where the model ends it: blank lines are passed over."""
    END = "end"
    """Where the model ends it."""
