"""The probe says of each store what it does and lacks, and leaves nothing."""

import pytest
from s3_servers import S3Server

from repoloom.errors import StoreError
from repoloom.store import Store, open_store, write
from repoloom.store.probe import Check, Verdict, probe


def test_every_store_has_what_is_needed_and_is_left_as_it_was(store: Store) -> None:
    write(store, "mine/object", b"mine")
    findings = probe(store.uri)
    assert [finding for finding in findings if not finding.fine] == []
    assert len(findings) == (6 if not store.uri.startswith("s3://") else len(Check))
    assert store.read("mine/object") == b"mine"
    above, _, last = store.uri.rpartition("/")
    assert [key for key in open_store(above).list(last) if ".tmp" not in key] == [f"{last}/mine/object"]


def test_a_server_that_ignores_conditions_is_told_from_one_that_heeds_them(server: S3Server, here: str) -> None:
    verdicts = {finding.check: finding.verdict for finding in probe(here)}
    conditional = Verdict.HONOURED if server.name == "minio" else Verdict.IGNORED
    assert verdicts.pop(Check.CONDITIONAL_PUT) is conditional
    assert set(verdicts.values()) == {Verdict.HONOURED}


def test_a_server_that_takes_anybody_is_told(server: S3Server, here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong" + server.secret_key)
    with pytest.raises(StoreError, match="refuses the credentials"):
        probe(here)
