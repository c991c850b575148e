import ipaddress
import socket
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoloom.stages.crawl.addresses import Place, parse, place
from repoloom.stages.crawl.gateway import resolve

V4 = st.ip_addresses(v=4).filter(lambda address: int(address) > 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.1.1.1", Place.PUBLIC),
        ("2606:4700::1111", Place.PUBLIC),
        ("127.0.0.1", Place.LOOPBACK),
        ("127.255.255.254", Place.LOOPBACK),
        ("::1", Place.LOOPBACK),
        ("10.0.0.1", Place.PRIVATE),
        ("172.31.255.255", Place.PRIVATE),
        ("192.168.1.1", Place.PRIVATE),
        ("100.64.0.1", Place.PRIVATE),
        ("fd00::1", Place.PRIVATE),
        ("169.254.0.1", Place.LINK_LOCAL),
        ("fe80::1", Place.LINK_LOCAL),
        ("fe80::1%eth0", Place.LINK_LOCAL),
        ("169.254.169.254", Place.METADATA),
        ("168.63.129.16", Place.METADATA),
        ("100.100.100.200", Place.METADATA),
        ("fd00:ec2::254", Place.METADATA),
        ("::ffff:169.254.169.254", Place.METADATA),
        ("0.0.0.0", Place.NO_HOST),
        ("0.1.2.3", Place.NO_HOST),
        ("::", Place.NO_HOST),
        ("224.0.0.1", Place.NO_HOST),
        ("255.255.255.255", Place.NO_HOST),
        ("ff02::1", Place.NO_HOST),
        ("203.0.113.80", Place.STAND_IN),
        ("198.18.0.1", Place.STAND_IN),
        ("2001:db8::1", Place.STAND_IN),
        ("2001:0:7f00:1::", Place.NO_HOST),  # Teredo
        ("fec0::1", Place.NO_HOST),  # site-local, deprecated
        ("64:ff9b:1::7f00:1", Place.NO_HOST),  # NAT64 of a network's own
        ("::127.0.0.1", Place.NO_HOST),  # IPv4-compatible, deprecated
    ],
)
def test_an_address_leads_where_the_registries_of_addresses_say(text: str, expected: Place) -> None:
    assert place(parse(text)) is expected


@given(V4)
def test_an_ipv4_address_within_an_ipv6_address_leads_where_it_leads_itself(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    mapped = ipaddress.IPv6Address((0xFFFF << 32) | number)
    nat64 = ipaddress.IPv6Address((0x64FF9B << 96) | number)
    six_to_four = ipaddress.IPv6Address((0x2002 << 112) | (number << 80) | 1)
    assert {parse(str(outer)) for outer in (mapped, nat64, six_to_four)} == {address}


@given(V4)
def test_every_spelling_of_an_address_is_read_as_that_address(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    octets = address.packed
    spellings = (
        str(number),
        hex(number),
        f"0{number:o}",
        ".".join(map(hex, octets)),
        ".".join(f"0{octet:o}" for octet in octets),
        f"{octets[0]}.{number & 0xFFFFFF}",
        f"{address}.",
        f"{octets[0]}.{octets[1]}.{number & 0xFFFF:#x}",
    )
    assert {parse(found) for spelling in spellings for found in resolve(spelling)} == {address}


def test_this_machine_s_own_addresses_are_told_from_public_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    own = SimpleNamespace(family=socket.AF_INET, address="1.2.3.4")
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"eth0": [own]})
    assert place(parse("1.2.3.4")) is Place.OWN
    assert place(parse("1.2.3.5")) is Place.PUBLIC
