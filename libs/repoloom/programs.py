"""What the programs that stages start are told of this process's environment: they read what anybody wrote."""

import os
from fnmatch import fnmatchcase

_HEEDED = (
    *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_*", "LD_LIBRARY_PATH"),
    *("LANG", "LANGUAGE", "LC_*", "TZ"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
)


def environment(*heeded: str) -> dict[str, str]:
    """What any program needs, and what this one heeds besides: names, or patterns of them as of a shell.

    All else stays here, above all what opens the store and Redis: a hole in a program must not give it away.
    """
    wanted = (*_HEEDED, *heeded)
    return {name: value for name, value in os.environ.items() if any(fnmatchcase(name, known) for known in wanted)}
