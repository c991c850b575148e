from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from repoloom.errors import InputError
from repoloom.stages.crawl.errors import NotAllowedError
from repoloom.stages.crawl.fetch import repositories
from repoloom.stages.crawl.limits import Limits
from repoloom.stages.crawl.policy import SETTING, Policy
from repoloom.stages.crawl.resolve import resolve
from repoloom.stages.crawl.sources import Source, from_json

SOURCE: TypeAdapter[Source] = TypeAdapter(Source)
NOBODY: frozenset[str] = frozenset()
LOCAL: list[dict[str, str]] = [
    {"kind": "folder", "path": "/etc"},
    {"kind": "archive", "path": "/etc/x.tar"},
    {"kind": "jsonl", "path": "/etc/x.jsonl"},
    {"kind": "parquet", "path": "/etc/x.parquet"},
    {"kind": "git", "path": "/etc/x.git"},
]
UNWATCHED = [
    ({"kind": "git", "url": "ssh://git@host.example/x"}, "ssh"),
    ({"kind": "git", "url": "git://host.example/x"}, "git-protocol"),
]


@pytest.mark.parametrize(("source", "word"), [*((source, "local-files") for source in LOCAL), *UNWATCHED])
def test_a_kind_of_source_is_read_only_where_the_setting_names_it(source: dict[str, str], word: str) -> None:
    checked = SOURCE.validate_python(source)
    with pytest.raises(NotAllowedError, match=rf"^{checked.kind} .*{word} in {SETTING} allows it$"):
        Policy.parse("named-hosts,host:host.example").check(checked)
    Policy.parse(word).check(checked)


@pytest.mark.parametrize(
    "source",
    [
        {"kind": "git", "url": "https://host.example/x"},
        {"kind": "pypi", "name": "x", "version": "1"},
        {"kind": "npm", "name": "x", "version": "1.0.0"},
        {"kind": "debian", "name": "xx", "version": "1"},
    ],
)
def test_what_is_fetched_over_https_is_of_a_kind_that_is_read_anywhere(source: dict[str, str]) -> None:
    Policy().check(SOURCE.validate_python(source))


@pytest.mark.parametrize("source", LOCAL)
def test_a_source_that_a_caller_gives_is_refused_before_anything_of_this_machine_is_looked_at(
    source: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(SETTING, "")
    there = SOURCE.validate_python({**source, "path": str(tmp_path)})
    nowhere = SOURCE.validate_python({**source, "path": str(tmp_path / "nowhere")})
    for given in (there, nowhere):
        with pytest.raises(NotAllowedError, match="local-files"):
            resolve(given)


@pytest.mark.parametrize("source", LOCAL)
def test_a_task_that_was_planned_elsewhere_is_refused_where_it_runs(
    source: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(SETTING, "")
    with pytest.raises(NotAllowedError, match="local-files"):
        next(repositories(SOURCE.validate_python(source), Limits(), tmp_path))


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% /tmp/x",
        "file:///etc/x.git",
        "/etc/x.git",
        "../x.git",
        "ftp://host/x",
        "fd::17",
        "-u/x",
        "https://host/x\nhost",
        "https://1.2.3.4@/x",
        "https:///x",
    ],
)
def test_an_address_of_another_kind_is_no_source_at_all(url: str) -> None:
    with pytest.raises(ValidationError):
        SOURCE.validate_python({"kind": "git", "url": url})
    with pytest.raises(InputError, match="not a source"):
        from_json(f'{{"kind": "git", "url": "{url.encode("unicode_escape").decode()}"}}')


def test_without_the_setting_somebody_is_at_the_keyboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SETTING, raising=False)
    assert Policy.here() == Policy.parse("local-files, ssh, git-protocol, named-hosts")
    monkeypatch.setenv(SETTING, "")
    assert Policy.here() == Policy()


@pytest.mark.parametrize(
    "text", ["everything", "local_files", "host:", "host:a b", "net:", "net:10.0.0.1/8", "net:x", "10.0.0.0/8", "*"]
)
def test_a_setting_that_cannot_be_read_is_an_error_that_names_it(text: str) -> None:
    with pytest.raises(InputError, match=SETTING):
        Policy.parse(f"ssh,{text}")


def test_a_named_host_may_be_private_but_never_link_local() -> None:
    policy = Policy.parse("named-hosts")
    trusted = policy.trusted("Git.Corp.Example.")
    assert trusted == {"git.corp.example"}
    policy.check_address("git.corp.example", "10.0.0.1", trusted)
    policy.check_address("GIT.corp.example.", "127.0.0.1", trusted)
    for address in ("169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1", "fd00:ec2::254"):
        with pytest.raises(NotAllowedError):
            policy.check_address("git.corp.example", address, trusted)
    with pytest.raises(NotAllowedError):
        policy.check_address("other.corp.example", "10.0.0.1", trusted)
    assert Policy().trusted("git.corp.example") == NOBODY


def test_a_host_or_a_network_that_the_setting_names_is_gone_to() -> None:
    Policy.parse("host:Git.Corp.Example").check_address("git.corp.example", "10.0.0.1", NOBODY)
    policy = Policy.parse("net:10.1.0.0/16,net:169.254.0.0/16,net:fd00::/8")
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "169.254.169.254", "fd00::1%eth0"):
        policy.check_address("any.example", address, NOBODY)
    with pytest.raises(NotAllowedError):
        policy.check_address("any.example", "10.2.0.1", NOBODY)


def test_the_error_says_what_was_met_and_what_allows_it() -> None:
    with pytest.raises(NotAllowedError) as private:
        Policy().check_address("git.example", "10.0.0.1", NOBODY)
    assert str(private.value) == (
        "git.example is 10.0.0.1, a private address, where no crawl goes; "
        "host:git.example or net:10.0.0.1 in REPOLOOM_CRAWL_ALLOW allows it"
    )
    with pytest.raises(NotAllowedError, match=r"^fe80::1 is a link-local address, .*; net:fe80::1 in"):
        Policy().check_address("fe80::1", "fe80::1", NOBODY)
