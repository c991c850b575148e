from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory import MemorySink
from pydantic import TypeAdapter, ValidationError

from repoloom.errors import InputError
from repoloom.stages.crawl.sources import Source, from_json, to_json
from repoloom.stages.crawl.steps import CrawlSources, CrawlSourcesParams

SOURCE: TypeAdapter[Source] = TypeAdapter(Source)


def a_source(**fields: Any) -> Source:
    return SOURCE.validate_python(fields)


@pytest.mark.parametrize(
    "url",
    [
        "--upload-pack=touch pwned",
        "-oProxyCommand=touch",
        "ext::sh -c touch% pwned",
        "fd::17/foo",
        "https::https://host/x",
        "file:///etc",
        "/srv/repository",
        "../repository",
        "host:path",
        "git@host:path",
        "ftp://host/x",
        "https://",
        "https://host",
        "https://-oProxyCommand=x/y",
        "ssh://-oProxyCommand=x/y",
        "https://host/a b",
        "https://host/a\nb",
        "https://name:secret@host/x",
        "https://token@host/x",
        "ssh://git:secret@host/x",
        "https://host/x?token=secret",
        "https://host/x#fragment",
    ],
)
def test_an_address_that_is_no_plain_address_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        a_source(kind="git", url=url)


@pytest.mark.parametrize("revision", ["--upload-pack=x", "a..b", "a:b", "a b", "", "+a", "^a", "a\n"])
def test_a_revision_that_git_would_read_as_something_else_is_refused(revision: str) -> None:
    with pytest.raises(ValidationError):
        a_source(kind="git", url="https://host/x", revision=revision)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "pypi", "name": "--index-url", "version": "1.0"},
        {"kind": "pypi", "name": "x @ file:///etc", "version": "1.0"},
        {"kind": "pypi", "name": "x", "version": ">=1"},
        {"kind": "pypi", "name": "x", "version": "1", "sha256": "0"},
        {"kind": "npm", "name": "--ignore-scripts=false", "version": "1.0.0"},
        {"kind": "npm", "name": "../folder", "version": "1.0.0"},
        {"kind": "npm", "name": "user/repository", "version": "1.0.0"},
        {"kind": "npm", "name": "x", "version": "git+ssh://host/x"},
        {"kind": "npm", "name": "x", "version": "latest"},
        {"kind": "debian", "name": "-o", "version": "1"},
        {"kind": "debian", "name": "zlib", "version": "1 other=2"},
        {"kind": "git"},
        {"kind": "git", "url": "https://host/x", "path": "/x"},
        {"kind": "folder", "path": "x", "eahc": True},
        {"kind": "folder", "path": "x", "domain": "No Domain"},
        {"kind": "folder", "path": "x", "license": "my own"},
        {"kind": "svn", "url": "x"},
    ],
)
def test_what_a_client_would_misread_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SOURCE.validate_python(fields)


@pytest.mark.parametrize(
    ("fields", "repository", "subject"),
    [
        (
            {"kind": "pypi", "name": "Typing_Extensions", "version": "4.0"},
            "pypi/typing-extensions",
            "pypi Typing_Extensions 4.0",
        ),
        ({"kind": "npm", "name": "@scope/name", "version": "1.0.0"}, "npm/@scope/name", "npm @scope/name 1.0.0"),
        ({"kind": "debian", "name": "zlib", "version": "1:1.2"}, "debian/zlib", "debian zlib 1:1.2"),
        ({"kind": "git", "url": "https://host:8443/a/b.git"}, "git/host/a/b", "git https://host:8443/a/b.git HEAD"),
        (
            {"kind": "git", "url": "ssh://git@host/~me/x", "revision": "v1"},
            "git/host/~me/x",
            "git ssh://git@host/~me/x v1",
        ),
        ({"kind": "folder", "path": "{stdlib}/json"}, "folder/json", "folder {stdlib}/json"),
        ({"kind": "archive", "path": "/a/x-1.0.tar.gz"}, "archive/x-1.0", "archive /a/x-1.0.tar.gz"),
        ({"kind": "jsonl", "path": "posts.jsonl.zst"}, "jsonl/posts", "jsonl posts.jsonl.zst"),
        (
            {"kind": "parquet", "path": "a/posts.parquet", "repo": "forum/no spaces"},
            "forum/no%20spaces",
            "parquet a/posts.parquet",
        ),
    ],
)
def test_a_source_has_a_name_for_its_repository_and_one_for_people(
    fields: dict[str, Any], repository: str, subject: str
) -> None:
    source = SOURCE.validate_python(fields)
    assert source.repository == repository
    assert str(source) == subject


@given(
    st.builds(
        a_source,
        kind=st.just("folder"),
        path=st.text(min_size=1),
        each=st.booleans(),
        repo=st.none() | st.text(min_size=1),
        revision=st.none() | st.text(),
    )
)
def test_a_source_comes_back_from_its_json(source: Source) -> None:
    assert from_json(to_json(source)) == source


def test_what_is_no_source_is_an_error_that_says_what_is_wrong() -> None:
    with pytest.raises(InputError, match=r"npm\.version.* this is not one version"):
        from_json('{"kind":"npm","name":"x","version":"^1"}')


def test_two_sources_of_one_name_are_refused() -> None:
    sources = (a_source(kind="pypi", name="x", version="1"), a_source(kind="pypi", name="X", version="2"))
    with pytest.raises(InputError, match="two sources give the repository 'pypi/x'"):
        CrawlSources(CrawlSourcesParams(sources=sources)).run({}, MemorySink())


def test_a_local_source_without_a_revision_is_refused() -> None:
    with pytest.raises(InputError, match="has no revision"):
        CrawlSources(CrawlSourcesParams(sources=(a_source(kind="folder", path="x"),))).run({}, MemorySink())
