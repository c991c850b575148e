"""Who may complete over HTTP: bearer tokens, client certificates, TLS that is renewed."""

import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from certificates import Authority, Pair
from inference_server import Server
from pydantic import ValidationError

from repoloom.client import Inference
from repoloom.rpc.callers import new_caller
from repoloom.rpc.settings import ChannelSettings, ServerSettings

ASKED = {"prompt": "def ", "max_tokens": 1}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


def post(server: Server, scheme: str = "https", **given: Any) -> httpx2.Response:
    return httpx2.post(f"{scheme}://{server.http}/v1/completions", json=ASKED, timeout=60, **given)


def trusting(authority: Authority, pair: Pair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.file)
    if pair:
        context.load_cert_chain(pair.cert, pair.key)
    return context


def test_a_token_with_the_scope_may_and_nobody_else(serve: Callable[..., Server], tmp_path: Path) -> None:
    mine, entry = new_caller("mine", ["inference:online"])
    other, another = new_caller("other", ["filter:online"])
    (tmp_path / "callers.yaml").write_text(entry + another)
    server = serve(settings={"callers_file": tmp_path / "callers.yaml"})

    def asked(*tokens: str) -> httpx2.Response:
        return post(server, "http", headers=[("Authorization", f"Bearer {token}") for token in tokens])

    assert asked(mine).status_code == 200
    assert asked(other).status_code == 403
    for refused in (asked(), asked("guess"), asked(mine, mine)):
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        assert refused.json()["error"]["code"] == "invalid_api_key"
    assert httpx2.get(f"http://{server.http}/v1/models", timeout=60).status_code == 401
    assert httpx2.get(f"http://{server.http}/readyz", timeout=60).status_code == 200


def test_a_client_certificate_may_over_both_faces_and_probes_need_none(
    serve: Callable[..., Server], tmp_path: Path, authority: Authority
) -> None:
    own, runner, stranger = (authority.issue(name) for name in ("server.example", "runner.example", "stranger.example"))
    (tmp_path / "callers.yaml").write_text(
        '[{name: runner, certificate: runner.example, scopes: ["inference:online"]}]'
    )
    files = {"cert_file": own.cert, "key_file": own.key, "client_ca_file": authority.file}
    server = serve(settings={**files, "callers_file": tmp_path / "callers.yaml"})
    assert post(server, verify=trusting(authority, runner)).status_code == 200
    assert post(server, verify=trusting(authority, stranger)).status_code == 401
    with pytest.raises(httpx2.TransportError):
        post(server, verify=trusting(authority))
    channel = ChannelSettings(target=server.grpc, ca_file=authority.file, cert_file=runner.cert, key_file=runner.key)
    with Inference(channel) as client:
        assert list(client.complete("def ", max_tokens=1))
    for path in ("/healthz", "/readyz", "/metrics"):
        assert httpx2.get(f"http://{server.watched}{path}", timeout=60).status_code == 200


def test_a_renewed_certificate_is_shown_without_a_restart(serve: Callable[..., Server], tmp_path: Path) -> None:
    former, later = Authority(tmp_path, "former"), Authority(tmp_path, "later")
    pair = former.issue("server.example")
    server = serve(settings={"cert_file": pair.cert, "key_file": pair.key})
    assert post(server, verify=trusting(former)).status_code == 200
    later.issue("server.example")  # over the same files
    for _ in range(2):  # who finds it changed may still see the former
        try:
            status = post(server, verify=trusting(later)).status_code
        except httpx2.TransportError:
            status = 0
    assert status == 200


@pytest.mark.parametrize(("own", "ends"), [(None, 0), ("authority", 0), ("other", 1)], ids=["none", "its", "another's"])
def test_helm_test_trusts_the_authority_of_the_secret_or_else_those_of_the_system(
    serve: Callable[..., Server], tmp_path: Path, authority: Authority, own: str | None, ends: int
) -> None:
    pair = authority.issue("server.example")
    server = serve(settings={"cert_file": pair.cert, "key_file": pair.key})
    if own:
        (tmp_path / "tls").mkdir()
        issuer = authority if own == "authority" else Authority(tmp_path, own)
        shutil.copy(issuer.file, tmp_path / "tls/ca.crt")
    done = subprocess.run(
        [sys.executable, Path(__file__).parents[3] / "charts/inference/completion_test.py"],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "ADDRESS": f"https://{server.http}",
            "TLS_ROOT": str(tmp_path),
            "SSL_CERT_FILE": str(authority.file),
        },
    )
    assert done.returncode == ends, done.stderr


def test_off_loopback_the_server_wants_tls_and_callers() -> None:
    with pytest.raises(ValidationError, match="reached from elsewhere"):
        ServerSettings(address="0.0.0.0:8000")
