import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from repoloom.stages.crawl.errors import NotAllowedError, SourceUnavailableError, UnreadableSourceError
from repoloom.stages.crawl.policy import SETTING

FILES = {
    "Some_Project-1.0/PKG-INFO": b"Metadata-Version: 2.1\nName: Some-Project\nVersion: 1.0\nLicense: MIT\n",
    "Some_Project-1.0/setup.py": b"open('pwned', 'w')\n",
    "Some_Project-1.0/some_project/__init__.py": b"x = 1\n",
}


@pytest.fixture
def index(tmp_path: Path, pack: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index with one project, as a folder; pip's configuration points at nothing else."""
    page = tmp_path / "index" / "some-project"
    page.mkdir(parents=True)
    sdist = pack(FILES)
    (page / "Some_Project-1.0.tar.gz").write_bytes(sdist)
    (page / "some_project-1.0-py3-none-any.whl").write_bytes(b"a wheel")
    digest = hashlib.sha256(sdist).hexdigest()
    (page / "index.html").write_text(
        f'<a href="Some_Project-1.0.tar.gz#sha256={digest}" data-requires-python="&gt;=99">x</a>'
        '<a href="some_project-1.0-py3-none-any.whl">x</a>'
    )
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", page.parent.as_uri())
    return page


@pytest.mark.usefixtures("index")
def test_a_source_distribution_is_read_and_never_built(crawl: Any, tmp_path: Path) -> None:
    found = crawl(kind="pypi", name="some.project", version="1.0")
    files = found.table("files").to_pylist()
    assert {row["path"]: row["content"] for row in files} == {
        name.partition("/")[2]: content for name, content in FILES.items()
    }
    assert found.table("repositories").to_pylist() == [
        {
            "repo": "pypi/some-project",
            "revision": "1.0",
            "kind": "pypi",
            "url": "pkg:pypi/some-project@1.0",
            "license": "MIT",
            "files": 3,
            "bytes": sum(map(len, FILES.values())),
        }
    ]
    assert not list(tmp_path.rglob("pwned"))


def test_an_index_over_http_serves_as_well(
    index: Path, crawl: Any, serve: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", serve(index.parent))
    monkeypatch.setenv("PIP_TRUSTED_HOST", "127.0.0.1")
    assert crawl(kind="pypi", name="some-project", version="1.0").table("files").num_rows == 3


def test_links_that_pip_is_told_to_search_are_searched(
    index: Path, crawl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = tmp_path / "pip.conf"
    configuration.write_text(f"[global]\nno-index = true\nfind-links = {index}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(configuration))
    monkeypatch.delenv("PIP_INDEX_URL")
    assert crawl(kind="pypi", name="some-project", version="1.0").table("files").num_rows == 3


def test_a_version_without_source_distribution_is_unavailable(index: Path, crawl: Any) -> None:
    (index / "index.html").write_text('<a href="some_project-1.0-py3-none-any.whl">x</a>')
    with pytest.raises(SourceUnavailableError, match=r"pypi some-project 1\.0: .*no source distribution"):
        crawl(kind="pypi", name="some-project", version="1.0")
    with pytest.raises(SourceUnavailableError):
        crawl(kind="pypi", name="some-project", version="2.0")


@pytest.mark.usefixtures("index")
def test_a_download_that_is_not_what_was_pinned_is_refused(crawl: Any) -> None:
    with pytest.raises(UnreadableSourceError, match="not the one expected"):
        crawl(kind="pypi", name="some-project", version="1.0", sha256="0" * 64)


def test_a_download_that_is_not_what_the_index_says_is_refused(index: Path, crawl: Any) -> None:
    sdist = index / "Some_Project-1.0.tar.gz"
    sdist.write_bytes(sdist.read_bytes() + b"more")
    with pytest.raises(UnreadableSourceError, match="not the one expected"):
        crawl(kind="pypi", name="some-project", version="1.0")


@pytest.mark.usefixtures("index")
def test_an_index_that_cannot_be_reached_is_unavailable(crawl: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_TRUSTED_HOST", "127.0.0.1")
    with pytest.raises(SourceUnavailableError, match=r"^pypi some-project 1\.0: "):
        crawl(kind="pypi", name="some-project", version="1.0")


@pytest.fixture
def private_index(index: Path, site: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The index on a private host, under a policy that allows nothing; pip checks no certificate of this host."""
    monkeypatch.setenv(SETTING, "")
    monkeypatch.setenv("no_proxy", "127.0.0.1,127.0.0.2")
    private = site(index.parent)
    monkeypatch.setenv("PIP_INDEX_URL", private.url)
    monkeypatch.setenv("PIP_TRUSTED_HOST", "127.0.0.1 127.0.0.2")
    return private


def test_an_index_may_be_private_and_leads_to_no_other_private_host(
    private_index: Any, index: Path, site: Any, crawl: Any
) -> None:
    assert crawl(kind="pypi", name="some-project", version="1.0").table("files").num_rows == 3
    victim = site(index.parent, "127.0.0.2")
    refused = r"^pypi some-project 1\.0: 127\.0\.0\.2 is a loopback address, .* in REPOLOOM_CRAWL_ALLOW allows it$"
    private_index.redirects["/some-project/Some_Project-1.0.tar.gz"] = f"{victim.url}/x"
    with pytest.raises(NotAllowedError, match=refused):
        crawl(kind="pypi", name="some-project", version="1.0")
    private_index.redirects["/some-project"] = f"{victim.url}/some-project"
    with pytest.raises(NotAllowedError, match=refused):
        crawl(kind="pypi", name="some-project", version="1.0")
    private_index.redirects.clear()
    (index / "index.html").write_text(f'<a href="{victim.url}/some-project/Some_Project-1.0.tar.gz">x</a>')
    with pytest.raises(NotAllowedError, match=refused):
        crawl(kind="pypi", name="some-project", version="1.0")
    assert victim.seen == []


@pytest.mark.parametrize("base", ["", '<base href="file:///">'])
def test_an_index_over_http_leads_to_no_file_of_this_machine(
    base: str, private_index: Any, index: Path, crawl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_TRUSTED_HOST")
    secret = tmp_path / "secret" / "Some_Project-1.0.tar.gz"
    secret.parent.mkdir()
    (index / "Some_Project-1.0.tar.gz").rename(secret)
    (index / "index.html").write_text(f'{base}<a href="{secret.as_uri()}">x</a>')
    refused = rf"^pypi some-project 1\.0: the index leads to {secret}, which lies in no folder that pip is set up for"
    with pytest.raises(NotAllowedError, match=refused):
        crawl(kind="pypi", name="some-project", version="1.0")
    (index / "index.html").write_text('<a href="Some_Project-1.0.tar.gz">x</a>')
    private_index.redirects["/some-project/Some"] = secret.as_uri().removesuffix("_Project-1.0.tar.gz")
    with pytest.raises(NotAllowedError, match=refused):
        crawl(kind="pypi", name="some-project", version="1.0")
