"""Who is at the other end: this machine, a proxy that is trusted, or anybody."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from chassis.config import SettingRefused

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Peers:
    """Tells strangers from loopback and the proxies that are named as trusted."""

    proxies: tuple[Network, ...] = ()

    @classmethod
    def trusting(cls, named: str) -> Peers:
        """Reads the setting: addresses or networks, comma separated. Raises SettingRefused PROXIES_INVALID."""
        proxies = []
        for text in filter(None, (part.strip() for part in named.split(","))):
            try:
                proxies.append(ip_network(text))
            except ValueError as error:
                raise SettingRefused(
                    "PROXIES_INVALID",
                    f"PROSA_TRUSTED_PROXIES names {text!r}, which is no address and no network: {error}. "
                    "Write them like 192.0.2.7,198.51.100.0/24.",
                ) from None
        return cls(tuple(proxies))

    def near(self, address: str) -> bool:
        """Whether it is this machine, or a proxy that stands for many: neither is counted as one network."""
        ip = _ip(address)
        return ip is not None and (ip.is_loopback or self._is_proxy(ip))

    def is_proxy(self, address: str) -> bool:
        """Whether it is a proxy that is named as trusted."""
        ip = _ip(address)
        return ip is not None and self._is_proxy(ip)

    def client(self, address: str | None, forwarded_for: str | None) -> str | None:
        """Answers the address of whoever stands before the proxies, which say it in X-Forwarded-For.

        Anybody may write that header: read from its end, and only as far as trusted proxies have written it.
        """
        if address is None or not forwarded_for:
            return address
        for named in reversed([part.strip() for part in forwarded_for.split(",")]):
            ip = _ip(address)
            if ip is None or not self._is_proxy(ip):
                break
            if _ip(named) is None:
                break
            address = named
        return address

    def _is_proxy(self, ip: IPv4Address | IPv6Address) -> bool:
        return any(ip.version == proxy.version and ip in proxy for proxy in self.proxies)


def is_loopback(address: str) -> bool:
    """Whether an address is reached from this machine alone."""
    ip = _ip(address)
    return ip is not None and ip.is_loopback


def _ip(address: str) -> IPv4Address | IPv6Address | None:
    try:
        # A scope, as in fe80::1%eth0, is the interface's and not the peer's.
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return mapped or ip
