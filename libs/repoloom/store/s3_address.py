"""What an s3:// address and the keys below it may be: nothing that could name an object outside the prefix."""

import re

from repoloom.errors import InputError

_BUCKET = re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)(?!.*(\.\.|\.-|-\.))[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html"""
_REFUSED = re.compile(r"[\x00-\x1f\x7f-\x9f\\%]")
"""Control characters, and what some server or proxy on the way may read as another character: \\ as /, %2e as a dot."""
_LONGEST_NAME = 1024  # bytes, as S3 has it


def parse(uri: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://bucket/prefix`. Raises InputError, which holds no credentials of the address."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    prefix = prefix.removesuffix("/")
    if "@" in bucket:
        raise InputError(
            "an s3:// address holds no credentials; take them out and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if not _BUCKET.fullmatch(bucket):
        raise InputError(
            f"{uri!r} names no bucket; an address is s3://bucket/prefix, and a bucket's name has 3 to 63 lower-case "
            "letters, digits, dots and hyphens"
        )
    if "?" in prefix or "#" in prefix or (prefix and not _is_path(prefix)):
        raise InputError(
            f"{uri!r} has a prefix that cannot be used; give plain names with / between, as s3://bucket/a/b"
        )
    return bucket, prefix


def object_name(prefix: str, key: str) -> str:
    """The name in the bucket of the object under a key. Raises InputError."""
    name = f"{prefix}/{key}" if prefix else key
    if not _is_path(key) or len(name.encode()) > _LONGEST_NAME:
        raise InputError(
            f"{key!r} is not a key of a store: keys are relative paths without '..', empty parts, control characters, "
            f"'\\' and '%', and with their prefix no longer than {_LONGEST_NAME} bytes"
        )
    return name


def is_key(key: str) -> bool:
    """Whether a name that a server lists is one that a store could have written."""
    return _is_path(key)


def _is_path(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return not _REFUSED.search(path) and all(part.strip() and part not in (".", "..") for part in path.split("/"))
