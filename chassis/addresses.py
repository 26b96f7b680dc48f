"""What an address that somebody else gave us names, and whether it lies on the public internet. No I/O.

One URL must mean one thing to whoever judges it and to whoever connects. So a host is taken in one spelling alone: a
name in ASCII, four decimal numbers, or an IPv6 address without a zone. Everything that another reader could turn into
something else (full-width digits, ideographic dots, `0x7f.1`, `2130706433`, user names, percent signs) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

URL_LENGTH_MAX = 2_048
HOST_LENGTH_MAX = 253
USUAL_PORTS: Mapping[str, int] = {"http": 80, "https": 443}

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
# What ipaddress calls global in one of the Python releases we run on, and what nobody has a server behind.
_NOT_PUBLIC_4 = (
    IPv4Network("100.64.0.0/10"),  # shared by a provider's customers; a cloud's metadata among them
    IPv4Network("168.63.129.16/32"),  # every machine of a cloud reaches its host's own services there
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.31.196.0/24"),  # answered by whoever stands nearest (AS112), as the next but one
    IPv4Network("192.52.193.0/24"),  # found by multicast tunnels (AMT)
    IPv4Network("192.175.48.0/24"),
    IPv4Network("192.88.99.0/24"),
)
_NOT_PUBLIC_6 = (
    IPv6Network("2001::/23"),  # Teredo among them: it carries an IPv4 address
    IPv6Network("2002::/16"),  # 6to4: it carries one too
    IPv6Network("2001:db8::/32"),
    IPv6Network("2620:4f:8000::/48"),  # AS112
    IPv6Network("3ffe::/16"),  # an experiment's that is over
    IPv6Network("3fff::/20"),
)
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)
"""The upper half of an interface identifier whose lower half is an IPv4 address."""


class AddressInvalid(ValueError):
    """The text is no address that can be called; the message says why and what to write, for people."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL names, in the one spelling that is used from here on."""

    scheme: str
    host: str
    """In lower case; an IPv6 address without brackets."""
    port: int
    path: str
    """Path and query as they were given."""

    @property
    def origin(self) -> str:
        """Scheme, host and port, the usual port left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == USUAL_PORTS[self.scheme] else f":{self.port}")

    @property
    def url(self) -> str:
        """The whole."""
        return self.origin + self.path

    @property
    def literal(self) -> bool:
        """True where the host is an address and no name."""
        return _address(self.host) is not None


def read_url(text: str) -> Target:
    """What the URL names. Raises AddressInvalid."""
    if len(text) > URL_LENGTH_MAX:
        raise AddressInvalid(f"It has more than {URL_LENGTH_MAX} characters.")
    if not text.isascii():
        raise AddressInvalid("Write it in plain ASCII letters, digits and dots; a name with other letters as xn--….")
    if "\\" in text or not text.isprintable() or " " in text:
        raise AddressInvalid("It has blanks, backslashes or characters that cannot be seen.")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise AddressInvalid("It is no URL.") from None
    if parts.scheme not in USUAL_PORTS or not parts.netloc:
        raise AddressInvalid("It must begin with http:// or https:// and a host.")
    if "@" in parts.netloc:
        raise AddressInvalid("It must have no user and no password.")
    if "%" in parts.netloc:
        raise AddressInvalid("Its host must have no percent sign and no zone.")
    if port == 0:
        raise AddressInvalid("Its port must be between 1 and 65535.")
    bracketed = parts.netloc.startswith("[")
    host = read_host(parts.hostname or "", bracketed=bracketed)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port or USUAL_PORTS[parts.scheme], path)


def read_host(text: str, *, bracketed: bool = False) -> str:
    """The host in the one spelling that is used. Raises AddressInvalid."""
    host = text.lower()
    if bracketed or ":" in host:
        try:
            if "%" in host or not bracketed:
                raise ValueError
            return str(IPv6Address(host))
        except ValueError:
            raise AddressInvalid("What stands in brackets must be an IPv6 address without a zone.") from None
    if host.endswith("."):
        raise AddressInvalid("Its host must not end with a dot.")
    labels = host.split(".")
    if len(host) > HOST_LENGTH_MAX or not all(_LABEL.fullmatch(label) for label in labels):
        raise AddressInvalid("It has no host that could be a name or an address.")
    if _NUMBER.fullmatch(labels[-1]) and not _plain_ipv4(host):
        raise AddressInvalid("An IPv4 address is four decimal numbers between 0 and 255, such as 192.0.2.7.")
    return host


def public(address: str) -> bool:
    """True for an address of the public internet.

    One that carries an IPv4 address is as public as that one; one that belongs to an interface of this machine is not.
    """
    parsed = _address(address)
    if parsed is None:
        return False
    if isinstance(parsed, IPv4Address):
        return (
            parsed.is_global
            and not parsed.is_multicast
            and not parsed.is_reserved
            and not any(parsed in network for network in _NOT_PUBLIC_4)
        )
    if parsed.ipv4_mapped is not None:
        return public(str(parsed.ipv4_mapped))
    inner = IPv4Address(int(parsed) & 0xFFFF_FFFF)
    if parsed in _NAT64:
        return public(str(inner))
    if int(parsed) >> 32 & 0xFFFF_FFFF in _ISATAP and not public(str(inner)):
        return False
    return parsed in _UNICAST and parsed.is_global and not any(parsed in network for network in _NOT_PUBLIC_6)


def _plain_ipv4(host: str) -> bool:
    try:
        return str(IPv4Address(host)) == host
    except ValueError:
        return False


def _address(text: str) -> IPv4Address | IPv6Address | None:
    if "%" in text:
        return None
    try:
        return ip_address(text)
    except ValueError:
        return None


class AllowedHosts:
    """The hosts that the operator lets outgoing calls reach though they lie in a private network."""

    def __init__(self, text: str) -> None:
        """``host`` or ``host:port``, comma separated. Raises ValueError naming the entry that is neither."""
        self._hosts: set[str] = set()
        self._places: set[tuple[str, int]] = set()
        for entry in (part.strip() for part in text.split(",")):
            if entry:
                self._add(entry)

    def host(self, host: str) -> bool:
        """Whether any port of the host may be called."""
        return host in self._hosts

    def place(self, host: str, port: int) -> bool:
        """Whether the operator named just this host and port."""
        return (host, port) in self._places

    def _add(self, entry: str) -> None:
        try:
            # A bare IPv6 address has colons that lead no port.
            self._hosts.add(str(IPv6Address(entry.strip("[]"))))
            return
        except ValueError:
            pass
        try:
            target = read_url(f"http://{entry}")
            if target.path:
                raise AddressInvalid("It has a path.")
        except AddressInvalid as error:
            raise ValueError(f"PROSA_ALLOWED_HOSTS names {entry!r}, which is no host or host:port. {error}") from None
        if urlsplit(f"http://{entry}").port is None:
            self._hosts.add(target.host)
        else:
            self._places.add((target.host, target.port))
