"""What an IP address leads to: the public network, this machine, its neighbours, or nowhere that has projects."""

import ipaddress
import socket
from enum import StrEnum
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class Place(StrEnum):
    """Where an address leads; its value says so in an error."""

    PUBLIC = "a public address"
    LOOPBACK = "a loopback address"
    OWN = "an address of this machine"
    PRIVATE = "a private address"
    STAND_IN = "an address for tests and documentation"
    LINK_LOCAL = "a link-local address"
    METADATA = "the address of a cloud's metadata service"
    NO_HOST = "the address of no single public host"

    @property
    def has_projects(self) -> bool:
        """Whether somebody may well keep a repository or a registry there."""
        return self in (Place.PUBLIC, Place.LOOPBACK, Place.OWN, Place.PRIVATE, Place.STAND_IN)


_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        (
            "169.254.169.254",  # AWS, Google, Azure, OpenStack and others
            "169.254.170.2",  # AWS: credentials of a container
            "168.63.129.16",  # Azure's wire server, by its look a public address
            "100.100.100.200",  # Alibaba
            "192.0.0.192",  # Oracle
            "fd00:ec2::254",  # AWS
            "fd20:ce::254",  # Google
        ),
    )
)
_PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),  # RFC 1918, 6598 and 4193
    )
)
_STAND_IN = tuple(
    map(
        ipaddress.ip_network,
        (  # RFC 2544, 5737, 3849 and 9637
            "198.18.0.0/15",
            "192.0.2.0/24",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "2001:db8::/32",
            "3fff::/20",
        ),
    )
)
"""Nobody's addresses; where all that goes out is intercepted, public names have them."""
_NO_HOST = tuple(
    map(
        ipaddress.ip_network,
        (  # https://www.iana.org/assignments/iana-ipv4-special-registry and its like for IPv6
            "0.0.0.0/8",
            "192.0.0.0/24",
            "192.88.99.0/24",
            "224.0.0.0/3",  # multicast, reserved and broadcast
            "2001::/23",  # Teredo among them, which holds an IPv4 address that is not checked
        ),
    )
)
_LINK_LOCAL = tuple(map(ipaddress.ip_network, ("169.254.0.0/16", "fe80::/10")))
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # RFC 4291 section 2.4; all else of IPv6 is special
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052


def parse(text: str) -> Address:
    """The address that a resolver gave, without its zone; where it holds an IPv4 address, that one."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return inner or address
    return address


def place(address: Address) -> Place:
    """Where an address leads."""
    if address in _METADATA:
        return Place.METADATA
    if _within(address, _STAND_IN):
        return Place.STAND_IN
    if _within(address, _LINK_LOCAL):
        return Place.LINK_LOCAL
    if address.is_loopback:
        return Place.LOOPBACK
    if _within(address, _PRIVATE):
        return Place.PRIVATE
    if _within(address, _NO_HOST) or (address.version == 6 and address not in _GLOBAL_UNICAST):
        return Place.NO_HOST
    return Place.OWN if address in _own() else Place.PUBLIC


def _within(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)


def _own() -> frozenset[Address]:
    """The addresses of this machine's interfaces: a public one leads to what listens here all the same."""
    import psutil

    inet = (socket.AF_INET, socket.AF_INET6)
    return frozenset(
        parse(found.address) for known in psutil.net_if_addrs().values() for found in known if found.family in inet
    )
