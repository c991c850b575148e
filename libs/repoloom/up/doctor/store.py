"""The store: whether it can be reached and written, and does what a run needs."""

from collections.abc import Iterator

from repoloom.errors import RepoloomError
from repoloom.store import open_store
from repoloom.store.probe import Verdict as Held
from repoloom.store.probe import probe
from repoloom.up.doctor.finding import Finding

_PATIENCE = 5.0  # seconds: somebody waits for the answer


def store_findings(uri: str) -> Iterator[Finding]:
    """What can be seen of a store, by writing below a scratch key of it. For s3:// the environment says where it is."""
    subject = f"store {uri}"
    try:
        _reach(uri)
        findings = probe(uri)
    except (RepoloomError, OSError) as error:
        way_out = "check the address, AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        if not uri.startswith("s3://"):
            way_out = "choose a folder that you may write"
        yield Finding.fail(subject, str(error), way_out)
        return
    yield Finding.ok(subject, "can be read and written")
    for found in findings:
        about = f"store: {found.check}"
        said = f"{found.verdict}{f' ({found.detail})' if found.detail else ''}"
        if found.verdict is Held.HONOURED:
            yield Finding.ok(about, said)
        elif found.fine:
            yield Finding.warn(about, said, "nothing need be done: no commit depends on it")
        else:
            yield Finding.fail(about, said, "use another server or a newer release: data could be harmed")


def _reach(uri: str) -> None:
    """Asks once, with little patience, so that a server that is away is told of soon. Raises what opening does."""
    if uri.startswith("s3://"):
        from repoloom.store.s3 import S3Store

        S3Store(uri, patience=_PATIENCE).exists("anything")
    else:
        open_store(uri)
