"""What a crawl may reach, with real clients and real servers. 127.0.0.2 stands for a public host, by the setting."""

import contextlib
import ipaddress
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from repoloom.stages.crawl import addresses
from repoloom.stages.crawl import gateway as gateways
from repoloom.stages.crawl.errors import NotAllowedError, SourceUnavailableError
from repoloom.stages.crawl.gateway import gateway
from repoloom.stages.crawl.git import pinned
from repoloom.stages.crawl.policy import SETTING, Policy
from repoloom.stages.crawl.proxies import Proxies
from repoloom.stages.crawl.sources import GitSource

PUBLIC = "127.0.0.2"
NO_PROXIES = Proxies({})


@pytest.fixture(autouse=True)
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is allowed but the host that stands for a public one."""
    monkeypatch.setenv(SETTING, f"net:{PUBLIC}")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the bare repository x.git of one file."""
    folder = tmp_path / "projects"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(folder / "x.git")], check=True)
    stream = b"commit refs/heads/main\ncommitter a <a> 1700000000 +0000\ndata 1\nx\nM 100644 inline a\ndata 2\nx\n\n"
    subprocess.run(["git", "fast-import", "--quiet"], cwd=folder / "x.git", input=stream, check=True)
    return folder


def test_a_repository_of_a_public_host_is_crawled(project: Path, site: Any, crawl: Any) -> None:
    public = site(project, PUBLIC)
    assert crawl(kind="git", url=f"{public.url}/x.git").table("files")["path"].to_pylist() == ["a"]
    assert pinned(GitSource(kind="git", url=f"{public.url}/x.git")).revision != "HEAD"


def test_a_redirect_to_another_public_host_is_followed(project: Path, site: Any, crawl: Any) -> None:
    public, other = site(project, PUBLIC), site(project, PUBLIC)
    public.redirects["/x.git"] = f"{other.url}/x.git"
    assert crawl(kind="git", url=f"{public.url}/x.git").table("files").num_rows == 1
    assert other.seen


SPELLINGS = ["127.0.0.1", "localhost", "2130706433", "0177.0.0.1", "0x7f.1", "127.1", "0.0.0.0"]


@pytest.mark.parametrize("host", SPELLINGS)
def test_a_source_leads_not_to_the_loopback(host: str, project: Path, site: Any, crawl: Any) -> None:
    victim = site(project)
    with pytest.raises(NotAllowedError, match=rf"^git http:.* where no crawl goes; .* in {SETTING} allows it$"):
        crawl(kind="git", url=f"http://{host}:{victim.server_port}/x.git")
    assert victim.seen == []


@pytest.mark.parametrize("host", [*SPELLINGS, "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]"])
def test_a_redirect_leads_not_to_the_loopback(host: str, project: Path, site: Any, crawl: Any) -> None:
    victim, public = site(project), site(project, PUBLIC)
    public.redirects["/x.git"] = f"http://{host}:{victim.server_port}/x.git"
    with pytest.raises(NotAllowedError, match=rf"^git {public.url}/x\.git HEAD: .* in {SETTING} allows it$"):
        crawl(kind="git", url=f"{public.url}/x.git")
    assert victim.seen == []


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest",
        "http://[fd00:ec2::254]/latest",
        "http://[64:ff9b::169.254.169.254]/latest",
        "http://10.0.0.1/x",
        "https://192.168.0.1/x",
        "https://100.64.0.1/x",
        "https://[fe80::1]/x",
        "https://169.254.169.254./x",
    ],
)
def test_a_redirect_to_a_private_or_link_local_address_is_refused(
    target: str, project: Path, site: Any, crawl: Any
) -> None:
    public = site(project, PUBLIC)
    public.redirects["/x.git"] = target
    with pytest.raises(NotAllowedError, match="where no crawl goes"):
        crawl(kind="git", url=f"{public.url}/x.git")


def test_at_the_keyboard_too_a_redirect_leads_to_no_private_host_that_the_source_does_not_name(
    project: Path, site: Any, crawl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SETTING)
    victim, named = site(project), site(project, PUBLIC)
    assert crawl(kind="git", url=f"{named.url}/x.git").table("files").num_rows == 1
    named.redirects["/x.git"] = f"{victim.url}/x.git"
    with pytest.raises(NotAllowedError, match=r"127\.0\.0\.1 is a loopback address"):
        crawl(kind="git", url=f"{named.url}/x.git")
    assert victim.seen == []


def test_a_name_whose_addresses_change_is_gone_to_where_it_was_checked(
    project: Path, site: Any, crawl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = site(project, PUBLIC)
    victim = site(project, "127.0.0.1", public.server_port)
    answers = iter([PUBLIC, *["127.0.0.1"] * 100])
    monkeypatch.setattr(gateways, "resolve", lambda _: [next(answers)])
    crawled = crawl(kind="git", url=f"http://repo.test:{public.server_port}/x.git")
    assert crawled.table("files").num_rows == 1
    assert len(public.seen) > 2
    assert all(request.startswith("repo.test:") for request in public.seen)
    assert victim.seen == []


@pytest.mark.parametrize("answer", [["127.0.0.1"], [PUBLIC, "127.0.0.1"], ["::1"], ["fe80::1%1"]])
def test_a_name_of_which_one_address_is_not_public_is_refused(
    answer: list[str], project: Path, site: Any, crawl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = site(project, PUBLIC)
    monkeypatch.setattr(gateways, "resolve", lambda _: answer)
    with pytest.raises(NotAllowedError, match=r"repo\.test is "):
        crawl(kind="git", url=f"http://repo.test:{public.server_port}/x.git")
    assert public.seen == []


@pytest.mark.parametrize("url", ["ssh://git@host.example/x", "git://127.0.0.2/x"])
def test_transports_that_no_gateway_watches_are_not_taken(
    url: str, crawl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ssh").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (programs / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    with pytest.raises(NotAllowedError, match=rf"in {SETTING} allows it"):
        crawl(kind="git", url=url)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("transport", ["ssh://host.example/x", "git://127.0.0.2/x", "ext::touch ran"])
def test_the_user_s_git_configuration_cannot_lead_to_such_a_transport(
    transport: str, crawl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(f'[url "{transport}"]\n insteadOf = https://host.example/x\n')
    monkeypatch.setenv("HOME", str(home))
    with pytest.raises(SourceUnavailableError, match=r"transport '\w+' not allowed"):
        crawl(kind="git", url="https://host.example/x")


def test_a_private_mirror_that_the_user_s_git_is_set_up_for_is_gone_to(
    project: Path, site: Any, crawl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror, home = site(project), tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(f'[url "{mirror.url}/"]\n insteadOf = https://host.example/\n')
    monkeypatch.setenv("HOME", str(home))
    assert crawl(kind="git", url="https://host.example/x.git").table("files").num_rows == 1


def test_neither_the_environment_nor_git_s_configuration_leads_past_the_gateway(
    project: Path, site: Any, crawl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, home = site(project), tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(f'[http "{victim.url}/"]\n proxy = ""\n')
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(NotAllowedError):
        crawl(kind="git", url=f"{victim.url}/x.git")
    assert victim.seen == []


def test_what_could_not_be_reached_is_said(crawl: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((PUBLIC, 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(SourceUnavailableError, match=rf"\({PUBLIC} port {port}: Connection refused\)$"):
        crawl(kind="git", url=f"http://{PUBLIC}:{port}/x")

    def unknown(_: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(gateways, "resolve", unknown)
    with pytest.raises(SourceUnavailableError, match=r"\(host\.test cannot be resolved: Name or service not known\)$"):
        crawl(kind="git", url="https://host.test/x")


def ask(address: str, request: bytes) -> bytes:
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def test_a_second_request_of_a_connection_goes_nowhere_else(project: Path, site: Any) -> None:
    victim, public = site(project), site(project, PUBLIC)
    with gateway("x", Policy.here(), frozenset(), NO_PROXIES) as way:
        requests = "".join(f"GET {place.url}/{name} HTTP/1.1\r\n\r\n" for place, name in ((public, 1), (victim, 2)))
        assert ask(way.url, requests.encode()).count(b"HTTP/1.0 404") == 1
    assert len(public.seen) == 1
    assert victim.seen == []


@pytest.mark.parametrize("request_", [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100_000, b"CONNECT x:y HTTP/1.1\r\n\r\n"])
def test_what_is_no_request_to_a_proxy_is_answered_so(request_: bytes) -> None:
    gone = contextlib.suppress(ConnectionResetError)  # it is not read to its end
    with gateway("x", Policy(), frozenset(), NO_PROXIES) as way, gone:
        assert ask(way.url, request_).startswith(b"HTTP/1.1 400 ")


def test_a_gateway_ends_with_its_block_whatever_still_goes_through_it() -> None:
    with socket.create_server((PUBLIC, 0)) as silent:
        with gateway("x", Policy.here(), frozenset(), NO_PROXIES) as way:
            host, port = silent.getsockname()
            client = socket.create_connection(("127.0.0.1", int(way.url.rpartition(":")[2])))
            client.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\n\r\n".encode())
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")
            silent.accept()[0].close()
        with client:
            assert client.recv(1) == b""


def test_the_machine_s_own_proxy_is_gone_through(
    project: Path, site: Any, crawl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = site(project, PUBLIC)
    resolved: list[str] = []
    system = gateways.resolve

    def resolve(host: str) -> list[str]:
        resolved.append(host)
        return system(PUBLIC if host == "repo.test" and len(resolved) > 1 else host)

    monkeypatch.setattr(gateways, "resolve", resolve)
    with gateway("x", Policy.here(), frozenset(), NO_PROXIES) as corporate:
        monkeypatch.setenv("http_proxy", corporate.url)
        crawled = crawl(kind="git", url=f"http://repo.test:{public.server_port}/x.git")
        assert crawled.table("files").num_rows == 1  # a name that only the proxy knows is the proxy's to judge
        assert set(resolved) == {"repo.test"}
        with pytest.raises(NotAllowedError, match="where no crawl goes"):
            crawl(kind="git", url="http://169.254.169.254/x")
        assert corporate.refused == []


def test_git_s_own_proxy_is_gone_through(
    project: Path, site: Any, crawl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public, home = site(project, PUBLIC), tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    with gateway("x", Policy(), frozenset(), NO_PROXIES) as corporate:
        (home / ".gitconfig").write_text(f"[http]\n proxy = {corporate.url}\n")
        with pytest.raises(SourceUnavailableError):
            crawl(kind="git", url=f"{public.url}/x.git")
        assert len(corporate.refused) == 1  # by its own, narrower policy: it was asked


def test_where_all_is_intercepted_a_trusted_host_leads_on_to_names_at_its_own_address(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    middlebox = site(host=PUBLIC)
    victim = site(host="127.0.0.3", port=middlebox.server_port)
    names = {"index.test": PUBLIC, "files.test": PUBLIC, "other.test": "127.0.0.3"}
    monkeypatch.setattr(gateways, "resolve", lambda host: [names[host]])
    monkeypatch.setattr(addresses, "_STAND_IN", (ipaddress.ip_network("127.0.0.2/31"),))

    def answers(*hosts: str) -> list[bytes]:
        with gateway("x", Policy(), frozenset({"index.test"}), NO_PROXIES) as way:
            port = middlebox.server_port
            return [ask(way.url, f"GET http://{host}:{port}/ HTTP/1.1\r\n\r\n".encode())[9:12] for host in hosts]

    assert answers("files.test", "index.test", "files.test", "other.test") == [b"403", b"200", b"200", b"403"]
    assert victim.seen == []
