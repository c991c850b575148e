"""A run whose store is a real S3 server, and which dies between any two of its requests, ends as in a folder."""

import os
import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import s3_servers
from one_process import copy, forked
from probing import Probe
from s3_servers import S3Server
from store_calls import Telling

from repoloom.corpus.dataset import Dataset
from repoloom.engine import log as log_module
from repoloom.engine import reconcile as reconcile_module
from repoloom.engine.plan import Table
from repoloom.engine.retry import forget
from repoloom.store import Store, open_store


@pytest.fixture(params=s3_servers.kinds())
def server(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """Each S3 server in turn, named by the environment."""
    with s3_servers.serve(request.param, tmp_path / "server") as running:
        running.client().make_bucket("engine")
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def files(tmp_path: Path) -> Table:
    Probe(tmp_path, step=None, make={"repositories": 4}).run()
    return Table(Dataset.open(str(tmp_path / "probe.make")), "files")


def _die_at(call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, SIGKILL ends this process right before the reconciler's `call`-th request."""
    left = call

    def called(*_: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def telling(uri: str) -> Store:
        return Telling(open_store(uri), called)

    monkeypatch.setattr(reconcile_module, "open_store", telling)


@pytest.mark.usefixtures("server")
def test_killed_at_every_request_of_the_reconciler_a_step_goes_on_to_the_same_dataset(
    tmp_path: Path, files: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = copy(files, tmp_path / "out").digest
    monkeypatch.setattr(log_module, "_LEAST", 1)
    monkeypatch.setattr(log_module, "_MOST", 1)
    monkeypatch.setattr(log_module, "_SMALL", 2)
    for call in count(1):
        out = f"s3://engine/{call}"
        status = forked(lambda out=out, call=call: (_die_at(call, monkeypatch), copy(files, out)))
        dataset = copy(files, out)
        assert dataset.digest == digest
        if status == 0:
            break
        assert status == -signal.SIGKILL
    dataset.verify()
    assert forget(out).failures == 1
    assert copy(files, out).digest == digest
    assert call > 10
