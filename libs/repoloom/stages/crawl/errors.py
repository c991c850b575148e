"""Why a source gave nothing: it could not be reached, it was not what it said, or it was too large."""

from repoloom.errors import ForbiddenError, RefusedError, RepoloomError, TooLargeError, UnavailableError


class SourceUnavailableError(UnavailableError):
    """A source cannot be reached: its host is down, its name unknown, or the client that speaks to it not installed."""


class OverdueError(SourceUnavailableError):
    """A source did not answer, or not all of it came, in the time that it was given."""


class UnreadableSourceError(RepoloomError):
    """A source was reached, and is not what it is said to be: a damaged archive, a wrong checksum."""


class RepositoryTooLargeError(RefusedError, TooLargeError):
    """A repository goes past a limit that protects the machine; the message names the limit."""


class NotAllowedError(RefusedError, ForbiddenError):
    """A source lies, or leads, where a crawl does not go on this machine; the message names what would allow it."""
