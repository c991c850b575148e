"""Secrets taken out of text before anybody sees it: in logs, errors and answers."""

import os
import re

HIDDEN = "***"
TOKEN_PREFIX = "loom_"  # noqa: S105 - a mark by which tokens of repoloom are known, in no way secret

_PATTERNS = (
    # The user part of an address (RFC 3986, 3.2.1). Bounded, so that hostile text costs linear time.
    (re.compile(r"(?<=://)[^\s/?#@\"'<>]{1,1024}@"), HIDDEN + "@"),
    # Signed addresses (AWS Signature Version 4 in a query) and tokens in queries.
    (
        re.compile(
            r"(?i)(?<=[?&])(x-amz-(?:signature|credential|security-token)|access_token|token|password|secret|api_key)=[^\s&\"'<>]+"
        ),
        rf"\1={HIDDEN}",
    ),
    (re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    (re.compile(rf"\b{TOKEN_PREFIX}[A-Za-z0-9_-]{{8,}}"), HIDDEN),
)
_SECRET_NAME = re.compile(r"(?i)(secret|token|passw|credential|private_key|api_?key|access_key)")
_SECRET_PATH = re.compile(r"(?i)_(file|path|dir|url|uri|id)$")
_SHORTEST = 8  # a shorter value is a word that stands in honest text


def redact(text: str) -> str:
    """The text without credentials in addresses, tokens, and values of the environment whose name says secret."""
    for secret in _secret_values():
        text = text.replace(secret, HIDDEN)
    for pattern, shown in _PATTERNS:
        text = pattern.sub(shown, text)
    return text


def _secret_values() -> list[str]:
    """Longest first: one secret may hold another."""
    values = {
        value
        for name, value in os.environ.items()
        if len(value) >= _SHORTEST and _SECRET_NAME.search(name) and not _SECRET_PATH.search(name)
    }
    return sorted(values, key=len, reverse=True)
