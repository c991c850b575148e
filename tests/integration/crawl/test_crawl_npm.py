import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from repoloom.stages.crawl.errors import NotAllowedError, SourceUnavailableError, UnreadableSourceError
from repoloom.stages.crawl.policy import SETTING

MANIFEST = {"name": "@scope/thing", "version": "1.2.3", "license": "(MIT OR ISC)"}


@pytest.fixture
def integrity(
    tmp_path: Path, pack: Callable[..., bytes], serve: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> str:
    """A registry with one package, whose every script would leave a mark; gives the integrity of its tarball."""
    root = tmp_path / "registry"
    root.mkdir()
    mark = f"touch {tmp_path}/pwned"
    scripts = dict.fromkeys(("preinstall", "install", "postinstall", "prepare", "prepack", "postpack"), mark)
    tarball = pack(
        {
            "package/package.json": json.dumps({**MANIFEST, "scripts": scripts}).encode(),
            "package/src/a.ts": b"export {}\n",
            "package/../../escape": b"x\n",
        }
    )
    digest = "sha512-" + base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    address = serve(root)
    (root / "thing.tgz").write_bytes(tarball)
    version = {**MANIFEST, "dist": {"tarball": f"{address}/thing.tgz", "integrity": digest}}
    # npm asks for /@scope%2fthing, which a plain file server looks up decoded.
    (root / "@scope").mkdir()
    (root / "@scope" / "thing").write_text(
        json.dumps({"name": MANIFEST["name"], "dist-tags": {"latest": "1.2.3"}, "versions": {"1.2.3": version}})
    )
    monkeypatch.setenv("npm_config_registry", address)
    return digest


def test_a_tarball_is_read_and_its_scripts_never_run(integrity: str, crawl: Any, tmp_path: Path) -> None:
    found = crawl(kind="npm", name="@scope/thing", version="1.2.3", integrity=integrity)
    assert set(found.table("files")["path"].to_pylist()) == {"package.json", "src/a.ts"}
    assert found.table("dropped")["rule"].to_pylist() == ["unsafe_path"]
    (repository,) = found.table("repositories").to_pylist()
    assert (repository["repo"], repository["url"]) == ("npm/@scope/thing", "pkg:npm/%40scope/thing@1.2.3")
    assert repository["license"] == "MIT OR ISC"
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.usefixtures("integrity")
def test_a_tarball_that_is_not_what_was_pinned_is_refused(crawl: Any) -> None:
    with pytest.raises(UnreadableSourceError, match="not the one expected"):
        crawl(kind="npm", name="@scope/thing", version="1.2.3", integrity="sha512-" + "A" * 86 + "==")


@pytest.mark.usefixtures("integrity")
def test_a_tarball_that_is_not_what_the_registry_says_is_refused_by_npm(crawl: Any, tmp_path: Path) -> None:
    tarball = tmp_path / "registry" / "thing.tgz"
    tarball.write_bytes(tarball.read_bytes() + b"more")
    with pytest.raises(SourceUnavailableError, match=r"(?i)npm @scope/thing 1\.2\.3: .*integrity"):
        crawl(kind="npm", name="@scope/thing", version="1.2.3")


@pytest.mark.usefixtures("integrity")
def test_a_package_that_is_unknown_is_unavailable(crawl: Any) -> None:
    with pytest.raises(SourceUnavailableError, match=r"npm nothing 1\.0\.0: 404"):
        crawl(kind="npm", name="nothing", version="1.0.0")


def test_a_registry_may_be_private_and_leads_to_no_other_private_host(
    integrity: str, site: Any, crawl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SETTING, "")
    monkeypatch.setenv("no_proxy", "127.0.0.1,127.0.0.2")
    assert crawl(kind="npm", name="@scope/thing", version="1.2.3", integrity=integrity).table("files").num_rows == 2
    victim, manifest = site(tmp_path / "registry", "127.0.0.2"), tmp_path / "registry" / "@scope" / "thing"
    manifest.write_text(re.sub(r"http://127\.0\.0\.1:\d+/thing.tgz", f"{victim.url}/thing.tgz", manifest.read_text()))
    refused = r"^npm @scope/thing 1\.2\.3: 127\.0\.0\.2 is a loopback address"
    with pytest.raises(NotAllowedError, match=refused):
        crawl(kind="npm", name="@scope/thing", version="1.2.3")
    registry = site(tmp_path / "registry")
    registry.redirects["/@scope"] = f"{victim.url}/@scope"
    monkeypatch.setenv("npm_config_@scope:registry", registry.url)
    with pytest.raises(NotAllowedError, match=refused):
        crawl(kind="npm", name="@scope/thing", version="1.2.3")
    assert registry.seen
    assert victim.seen == []
