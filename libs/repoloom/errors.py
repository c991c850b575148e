"""The errors that repoloom raises on purpose: one line that says what, where, and what to do."""


class RepoloomError(Exception):
    """An error written for the person at the keyboard; the command line prints it without a traceback."""


class InputError(RepoloomError):
    """What the caller gave cannot be used: a bad recipe, address, path or parameter."""


class CorruptDataError(RepoloomError):
    """Stored bytes are not the bytes that were committed."""


class StoreError(RepoloomError):
    """The store refused: a full disk, a read-only folder, an address outside the prefix."""


class UnavailableError(RepoloomError):
    """Something outside that is needed cannot be had now: a host, a package, a program. Another day it may be."""


class RefusedError(RepoloomError):
    """What was asked for is refused, however often it is asked: no second attempt is made."""


class TooLargeError(InputError):
    """More than a limit allows; the same will not fit another time."""


class NotFoundError(InputError):
    """What the caller named is not there."""


class UnsetError(InputError):
    """A variable of the environment is not set that is needed to reach what the caller named."""


class ForbiddenError(InputError):
    """What the caller named is not the caller's to use."""


class ConflictError(InputError):
    """What the caller wants made is there already, as something else."""
