"""Keeps outgoing calls away from private networks, judged by the address that is connected to.

A base URL comes from an organization's administrator, who must not reach what only this machine can: loopback, the
private ranges, link-local metadata services. A name is judged by what it resolves to, and the connection is made to
just those addresses, so a second, different answer of the DNS changes nothing. Redirects must not be followed.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult

_NAT64 = IPv6Network("64:ff9b::/96")


class AddressRefused(OSError):
    """The host leads into a private network and is not among the hosts that the operator allows."""

    def __init__(self, host: str) -> None:
        super().__init__(f"{host} leads to a private address")
        self.host = host


def read_hosts(text: str) -> frozenset[str]:
    """The hosts of a comma-separated list, in lower case."""
    return frozenset(host.strip().lower().strip("[]") for host in text.split(",") if host.strip())


def public(address: str) -> bool:
    """True for an address of the public internet; for one that wraps an IPv4 address, both must be public."""
    try:
        # A link-local address may carry its interface: "fe80::1%eth0".
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    inner = _wrapped(parsed) if isinstance(parsed, IPv6Address) else None
    if inner is not None:
        return public(str(inner))
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved


def _wrapped(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a mapped, 6to4, Teredo or NAT64 address stands for."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


class GuardedResolver(AbstractResolver):
    """Resolves names, and refuses those with any address in a private network. Literals go past a resolver: see
    ``check_literal``."""

    def __init__(self, allowed_hosts: Collection[str], inner: AbstractResolver | None = None) -> None:
        self._allowed = frozenset(allowed_hosts)
        self._inner = inner or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The host's addresses. Raises AddressRefused."""
        found = await self._inner.resolve(host, port, family)
        if host.lower() not in self._allowed and not all(public(result["host"]) for result in found):
            raise AddressRefused(host)
        return found

    async def close(self) -> None:
        """Closes the resolver behind."""
        await self._inner.close()


def check_literal(host: str, allowed_hosts: Collection[str]) -> None:
    """Raises AddressRefused for a host that is itself a private address; a name passes, its resolver judges it."""
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return
    if host.lower() not in allowed_hosts and not public(host):
        raise AddressRefused(host)
