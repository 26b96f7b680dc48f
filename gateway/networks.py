"""From which network a request comes: what guessing is counted by."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network

IPV4_PREFIX_LENGTH = 24
IPV6_PREFIX_LENGTH = 56
"""What one household or one rented server is given at most; single addresses of it cost nothing."""


def network_of(address: str | None) -> str:
    """The network of an address, such as "192.0.2.0/24"; empty where it is none, as over a Unix socket."""
    if address is None:
        return ""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    length = IPV4_PREFIX_LENGTH if parsed.version == 4 else IPV6_PREFIX_LENGTH
    return str(ip_network((parsed, length), strict=False))
