"""Who may call, and what: bearer tokens and client certificates with scopes, listed in a file.

    - name: ci
      token: sha256:9f86d081884c7d65…      # of the token; the token itself is nowhere kept
      scopes: ["filter:online"]
      expires: 2027-01-01T00:00:00Z
    - name: runner
      certificate: runner.example          # a subject alternative name; the common name where there is none
      scopes: ["filter:*", "deduper:*"]

`repoloom.rpc.callers.new_caller` makes an entry and its token. Several entries may bear one name, so a token is rotated
by adding the new, then removing the old; the file is read again when it changes.
"""

import hashlib
import hmac
import logging
import os
import secrets
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from repoloom.errors import InputError
from repoloom.telemetry.redaction import TOKEN_PREFIX

_logger = logging.getLogger(__name__)
_TOKEN_BYTES = 32  # of randomness: nothing that could be guessed, so a plain SHA-256 keeps it safe
_GRACE = 60.0  # seconds
_LONGEST_TOKEN = 4096

Scope = Annotated[str, StringConstraints(pattern=r"^(\*|[a-z0-9_.-]+:(\*|[a-z0-9_.-]+))$")]
"""`service:face`, such as `filter:online`; `service:*`; or `*`."""


class Caller(BaseModel):
    """Somebody who may call."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.@-]{1,64}$")]
    scopes: tuple[Scope, ...]
    token: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    certificate: Annotated[str, StringConstraints(min_length=1)] | None = None
    expires: AwareDatetime | None = None

    @model_validator(mode="after")
    def _known_by_one_thing(self) -> "Caller":
        if (self.token is None) == (self.certificate is None):
            raise ValueError("a caller has either a token or a certificate")
        return self

    def may(self, scope: str) -> bool:
        """Whether a scope is among the caller's."""
        return bool({"*", scope, f"{scope.partition(':')[0]}:*"}.intersection(self.scopes))

    @property
    def valid(self) -> bool:
        """Whether it has not expired."""
        return self.expires is None or datetime.now(UTC) < self.expires


ANYONE = Caller.model_construct(name="anyone", scopes=("*",))
"""Who calls where credentials are off."""


class CallersFile:
    """The callers of a file, read again when it changes. Raises InputError where it cannot be read at first.

    A file that later turns unreadable leaves the callers as they were for a minute, so that who edits it may do so in
    place; then nobody is let in until it can be read: it may have been to take somebody's right.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._version()
        self._callers = _read(path)
        self._unread_since: float | None = None

    @property
    def several(self) -> bool:
        """Whether there is more than one."""
        return len({caller.name for caller in self._callers}) > 1

    def find(
        self, metadata: Iterable[tuple[str, str | bytes]], certificate: Mapping[str, Iterable[bytes]]
    ) -> Caller | None:
        """The caller of a call: by its bearer token if it sent one, else by the certificate of its connection."""
        callers = self._current()
        authorizations = [value for name, value in metadata if name == "authorization"]
        if not authorizations:
            names = certificate_names(certificate)
            return next((c for c in callers if c.certificate in names and c.valid), None)
        scheme, _, token = str(authorizations[0]).partition(" ")
        if len(authorizations) > 1 or scheme.lower() != "bearer" or len(token) > _LONGEST_TOKEN:
            return None
        digest = _digest(token.strip())
        found = None
        for caller in callers:  # all of them: how long it takes must not say how near a guess was
            if caller.token is not None and hmac.compare_digest(caller.token, digest):
                found = caller
        return found if found is not None and found.valid else None

    def _current(self) -> tuple[Caller, ...]:
        version = self._version()
        if version != self._seen or self._unread_since is not None:
            try:
                self._callers = _read(self._path)
                self._unread_since = None
                _logger.info("read the callers again", extra={"fields": {"callers": len(self._callers)}})
            except InputError as error:
                if version != self._seen:
                    _logger.error("the callers stay as they were for %.0f s: %s", _GRACE, error)
                if self._unread_since is None:
                    self._unread_since = time.monotonic()
            self._seen = version
        if self._unread_since is not None and time.monotonic() - self._unread_since > _GRACE:
            return ()
        return self._callers

    def _version(self) -> tuple[int, int, int] | None:
        try:
            stat = os.stat(self._path)  # noqa: PTH116 - one call a request: it follows links, as Kubernetes swaps them
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_ino, stat.st_size


def certificate_names(certificate: Mapping[str, Iterable[bytes]]) -> frozenset[str]:
    """What a client's verified certificate is called, out of gRPC's authentication context.

    The common name counts only where there is no subject alternative name (RFC 9525, 2).
    """
    for kind in ("x509_subject_alternative_name", "x509_common_name"):
        if names := frozenset(name.decode("utf-8", "replace") for name in certificate.get(kind, ())):
            return names
    return frozenset()


def new_caller(name: str, scopes: Iterable[str], expires: datetime | None = None) -> tuple[str, str]:
    """A new token, and the entry to append to the callers file, which does not hold it. Raises InputError."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
    entry = {"name": name, "token": _digest(token), "scopes": list(scopes)}
    if expires is not None:
        entry["expires"] = expires.isoformat()
    try:
        Caller.model_validate(entry)
    except ValidationError as error:
        raise InputError(f"caller {name!r}: {_said(error)}") from error
    return token, yaml.safe_dump([entry], sort_keys=False)


def _digest(token: str) -> str:
    return "sha256:" + hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _read(path: Path) -> tuple[Caller, ...]:
    try:
        listed = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read the callers in {path}: {error.strerror}") from error
    except yaml.YAMLError:
        raise InputError(f"{path} is no YAML; it is a list of callers, see repoloom.rpc.callers") from None
    try:
        return TypeAdapter(tuple[Caller, ...]).validate_python(listed or ())
    except ValidationError as error:
        raise InputError(f"{path}: {_said(error)}") from None  # the error itself holds what the file says


def _said(error: ValidationError) -> str:
    problems = error.errors(include_input=False, include_url=False)
    return "; ".join(f"{'.'.join(str(at) for at in problem['loc'])}: {problem['msg']}" for problem in problems)
