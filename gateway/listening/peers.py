"""From where a connection comes: strangers are counted by network, for one of them has many addresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

IPV4_PREFIX, IPV6_PREFIX = 24, 56
"""What one customer of a provider commonly gets, or a little more."""

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Peers:
    """Tells networks of strangers from loopback and the proxies that are named as trusted."""

    proxies: tuple[Network, ...] = ()

    @classmethod
    def trusting(cls, named: str) -> Peers:
        """Reads the setting: addresses or networks, comma separated. Raises ValueError naming the one that is none."""
        proxies = []
        for text in filter(None, (part.strip() for part in named.split(","))):
            try:
                proxies.append(ip_network(text))
            except ValueError as error:
                raise ValueError(
                    f"PROSA_TRUSTED_PROXIES names {text!r}, which is no address and no network: {error}. "
                    "Write them like 192.0.2.7,198.51.100.0/24."
                ) from None
        return cls(tuple(proxies))

    def near(self, address: str) -> bool:
        """Whether it is this machine, or a proxy that stands for many: neither is counted as one network."""
        ip = _ip(address)
        return ip.is_loopback or any(ip.version == proxy.version and ip in proxy for proxy in self.proxies)


def network_of(address: str) -> str:
    """Answers the network that a connection from the address is counted with."""
    ip = _ip(address)
    prefix = IPV4_PREFIX if ip.version == 4 else IPV6_PREFIX
    return str(ip_network((ip, prefix), strict=False))


def loopback_only(hosts: Sequence[str]) -> bool:
    """Whether all of these addresses of listening sockets are reached from this machine alone."""
    return all(_ip(host).is_loopback for host in hosts)


def _ip(address: str) -> IPv4Address | IPv6Address:
    # A scope, as in fe80::1%eth0, is the interface's and not the peer's.
    ip = ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return mapped or ip
