"""Calls of Kubernetes' API that outlast its trouble: a server that starts anew, is busy or out of reach."""

import time
from collections.abc import Callable
from typing import TypeVar

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from repoloom.errors import UnavailableError

TIMEOUT = (5, 30)
"""Seconds in which a connection is to be had, and an answer on it."""

_PATIENCE = 600.0  # seconds of nothing but trouble
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0  # seconds between two tries

_TOO_MANY = 429

T = TypeVar("T")


def patiently(call: Callable[[], T]) -> T:
    """What a call comes to, tried again while the server has trouble; it may have been heard more than once.

    Raises ApiException for what the caller is to blame for, UnavailableError after ten minutes of trouble.
    """
    until, wait, said = time.monotonic() + _PATIENCE, _FIRST_WAIT, ""
    while True:
        try:
            return call()
        except ApiException as error:
            if error.status != _TOO_MANY and 400 <= error.status < 500:
                raise
            trouble = f"{error.status} {error.reason} {error.body or ''}".strip()
        except HTTPError as error:
            trouble = str(error)
        if time.monotonic() + wait > until:
            raise UnavailableError(
                f"Kubernetes has had nothing but trouble for {_PATIENCE / 60:.0f} minutes: {trouble}; another attempt "
                "goes on with what this one began"
            )
        if trouble != said:
            said = trouble
            print(f"Kubernetes is asked again: {said}", flush=True)
        time.sleep(wait)
        wait = min(2 * wait, _LONGEST_WAIT)
