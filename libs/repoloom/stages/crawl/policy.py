"""What a crawl may reach: a setting of where it runs, never of what it makes, so it is part of no dataset's identity.

The environment variable REPOLOOM_CRAWL_ALLOW lists, by commas, what is allowed besides public hosts over HTTP(S):

    local-files      sources that are files or folders of this machine
    ssh              ssh:// addresses; ssh acts with the keys and the configuration of the user
    git-protocol     git:// addresses
    named-hosts      private and loopback addresses of a host that the source itself names
    host:NAME        private and loopback addresses of this host, whoever leads there
    net:ADDRESS/BITS all addresses of this network, even link-local ones

Where it is not set, somebody runs repoloom at a keyboard: all of the first four are allowed. A service sets it, if only
to nothing. The hosts of the registries that pip, npm and apt are set up for count as `host:`.
"""

import ipaddress
import os
import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from repoloom.errors import InputError
from repoloom.stages.crawl.addresses import Network, Place, parse, place
from repoloom.stages.crawl.errors import NotAllowedError
from repoloom.stages.crawl.sources import GitSource, LocalSource, Source

SETTING = "REPOLOOM_CRAWL_ALLOW"
Word: TypeAlias = Literal["local-files", "ssh", "git-protocol", "named-hosts"]
_WORDS: tuple[Word, ...] = get_args(Word)
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")


@dataclass(frozen=True)
class Policy:
    """What is allowed. Nothing besides public hosts over HTTP(S), unless it is said."""

    words: frozenset[Word] = frozenset()
    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def here(cls) -> "Policy":
        """The policy of this process. Raises InputError."""
        said = os.environ.get(SETTING)
        return cls(frozenset(_WORDS)) if said is None else cls.parse(said)

    @classmethod
    def parse(cls, text: str) -> "Policy":
        """The policy that a value of REPOLOOM_CRAWL_ALLOW stands for. Raises InputError."""
        items = [item.strip() for item in text.split(",") if item.strip()]
        words = frozenset(word for word in _WORDS if word in items)
        hosts, networks = set(), []
        for item in (item for item in items if item not in words):
            kind, _, value = item.partition(":")
            if kind == "host" and _HOST.fullmatch(host_name(value)):
                hosts.add(host_name(value))
            elif kind == "net":
                networks.append(_network(value))
            else:
                known = ", ".join((*_WORDS, "host:NAME", "net:ADDRESS/BITS"))
                raise InputError(f"{SETTING}: {item!r} is not known; known are {known}")
        return cls(words, frozenset(hosts), tuple(networks))

    def check(self, source: Source) -> None:
        """Raises NotAllowedError where a source is of a kind that is not read here, whatever it holds."""
        if isinstance(source, LocalSource) or (isinstance(source, GitSource) and source.url is None):
            self._need("local-files", f"{source}: files of this machine are not read")
        elif isinstance(source, GitSource):
            scheme = urlsplit(source.url or "").scheme
            if scheme == "ssh":
                self._need("ssh", f"{source}: ssh is not run")
            elif scheme == "git":
                self._need("git-protocol", f"{source}: git:// addresses are not asked, since they cannot be watched")

    def trusted(self, host: str | None) -> frozenset[str]:
        """A host that a source names, where that is enough for it to be trusted."""
        return frozenset({host_name(host)} if host and "named-hosts" in self.words else ())

    def check_address(self, host: str, found: str, trusted: frozenset[str]) -> None:
        """Raises NotAllowedError where a host's name stands for an address that is not gone to.

        `trusted` are hosts that may have private addresses, besides those of the policy itself.
        """
        address = parse(found)
        if any(address in network for network in self.networks):
            return
        where = place(address)
        if where is Place.PUBLIC or (where.has_projects and host_name(host) in self.hosts | trusted):
            return
        is_name = ":" not in host and host_name(host) != str(address)
        ways = f"host:{host_name(host)} or net:{address}" if is_name and where.has_projects else f"net:{address}"
        is_what = f"{address}, " if is_name else ""
        raise NotAllowedError(f"{host} is {is_what}{where}, where no crawl goes; {ways} in {SETTING} allows it")

    def _need(self, word: Word, problem: str) -> None:
        if word not in self.words:
            raise NotAllowedError(f"{problem} here; {word} in {SETTING} allows it")


def host_name(host: str) -> str:
    """A host's name as it is compared: in lower case, without the dot that may end it."""
    return host.lower().rstrip(".")


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise InputError(f"{SETTING}: net:{text}: {error}") from error
