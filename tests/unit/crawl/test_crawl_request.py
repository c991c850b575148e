import pytest

from repoloom.stages.crawl.errors import SourceUnavailableError
from repoloom.stages.crawl.proxies import Proxies, Proxy
from repoloom.stages.crawl.request import Request, RequestError


def parsed(*lines: str) -> Request:
    return Request.parse("\r\n".join((*lines, "", "")).encode())


@pytest.mark.parametrize(
    ("line", "host", "port", "path"),
    [
        ("CONNECT host.example:443 HTTP/1.1", "host.example", 443, ""),
        ("CONNECT [::1]:8443 HTTP/1.1", "::1", 8443, ""),
        ("GET http://host.example HTTP/1.1", "host.example", 80, "/"),
        ("GET http://host.example?q HTTP/1.1", "host.example", 80, "/?q"),
        (
            "POST http://name:secret@host.example:8080/a//b?c=http://d HTTP/1.0",
            "host.example",
            8080,
            "/a//b?c=http://d",
        ),
        ("GET http://[fe80::1%25eth0]/x HTTP/1.1", "fe80::1%eth0", 80, "/x"),
    ],
)
def test_a_request_names_one_host_and_port(line: str, host: str, port: int, path: str) -> None:
    request = parsed(line)
    assert (request.host, request.port, request.path) == (host, port, path)


@pytest.mark.parametrize(
    "line",
    [
        "GET / HTTP/1.1",
        "GET https://host/ HTTP/1.1",
        "GET file:///etc/passwd HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET http://a b/ HTTP/1.1",
        "GET http://host:0/ HTTP/1.1",
        "GET http://host:99999/ HTTP/1.1",
        "CONNECT host HTTP/1.1",
        "CONNECT http://host/ HTTP/1.1",
        "GET http://host/ HTTP/2",
        "hello",
    ],
)
def test_what_is_no_request_to_a_proxy_is_refused(line: str) -> None:
    with pytest.raises(RequestError):
        parsed(line)


@pytest.mark.parametrize("header", ["no colon", "a b: c", "x: y\nHost: z", "x: y\rz"])
def test_a_header_that_could_be_read_as_two_is_refused(header: str) -> None:
    with pytest.raises(RequestError):
        parsed("GET http://host/ HTTP/1.1", header)


def test_the_host_gets_its_own_name_and_nothing_that_was_the_proxy_s() -> None:
    request = parsed(
        "GET http://name:secret@host.example/x HTTP/1.1",
        "Host: other.example",
        "Accept: */*",
        "Proxy-Authorization: Basic secret",
        "Proxy-Connection: keep-alive",
    )
    assert request.forwarded(None) == (
        b"GET /x HTTP/1.1\r\nHost: host.example\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )


def test_a_further_proxy_gets_the_whole_address_and_its_own_password() -> None:
    proxy = Proxy.parse("http://name:p%40ss@proxy.example:3128")
    assert (proxy.host, proxy.port, proxy.tls) == ("proxy.example", 3128, False)
    assert parsed("GET http://host.example/x HTTP/1.1").forwarded(proxy) == (
        b"GET http://host.example:80/x HTTP/1.1\r\nHost: host.example\r\n"
        b"Proxy-Authorization: Basic bmFtZTpwQHNz\r\nConnection: close\r\n\r\n"
    )
    assert parsed("CONNECT [::1]:443 HTTP/1.1").forwarded(proxy) == (
        b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\nProxy-Authorization: Basic bmFtZTpwQHNz\r\n\r\n"
    )


def test_the_proxies_of_the_environment_hold_where_a_client_has_none_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert Proxies.configured().to("https", "host.example") is None
    monkeypatch.setenv("https_proxy", "https://one.example")
    monkeypatch.setenv("no_proxy", "corp.example")
    one, two = Proxy("one.example", 443, True, None), Proxy("two.example", 80, False, None)
    assert Proxies.configured().to("https", "host.example") == one
    assert Proxies.configured().to("http", "host.example") is None
    assert Proxies.configured().to("https", "git.corp.example") is None
    assert Proxies.configured(https="two.example").to("https", "host.example") == two
    assert Proxies.configured(no="host.example").to("https", "git.corp.example") == one


def test_a_proxy_of_another_kind_is_named_without_its_password() -> None:
    with pytest.raises(SourceUnavailableError, match=r"^the proxy at proxy\.example cannot be used: .*http://"):
        Proxy.parse("socks5://name:secret@proxy.example:1080")
