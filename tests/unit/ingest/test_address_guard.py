"""Which addresses outgoing calls may reach."""

from __future__ import annotations

import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from services.ingest.address_guard import AddressRefused, GuardedResolver, check_literal, public, read_hosts

PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd12:3456::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:f5ff:fffe",
    "not an address",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert public(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_of_this_machine_and_its_networks_are_not(address: str) -> None:
    assert not public(address)


def test_hosts_are_read_from_a_list() -> None:
    assert read_hosts(" Chat.Local, [::1] ,,127.0.0.1") == {"chat.local", "::1", "127.0.0.1"}
    assert read_hosts("") == frozenset()


def test_a_literal_is_refused_unless_allowed_and_a_name_is_left_to_the_resolver() -> None:
    with pytest.raises(AddressRefused):
        check_literal("127.0.0.1", frozenset())
    with pytest.raises(AddressRefused):
        check_literal("fe80::1%eth0", {"127.0.0.1"})
    check_literal("127.0.0.1", {"127.0.0.1"})
    check_literal("8.8.8.8", frozenset())
    check_literal("localhost", frozenset())


class FixedResolver(AbstractResolver):
    """Answers the same addresses for every name."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self.addresses
        ]

    async def close(self) -> None:
        self.closed = True


async def test_one_private_address_among_those_of_a_name_refuses_it() -> None:
    with pytest.raises(AddressRefused) as refused:
        await GuardedResolver(frozenset(), FixedResolver("8.8.8.8", "10.0.0.1")).resolve("chat.example.com", 443)
    assert refused.value.host == "chat.example.com"
    found = await GuardedResolver({"chat.local"}, FixedResolver("10.0.0.1")).resolve("Chat.Local", 443)
    assert [result["host"] for result in found] == ["10.0.0.1"]
    found = await GuardedResolver(frozenset(), FixedResolver("8.8.8.8")).resolve("chat.example.com", 443)
    assert [result["host"] for result in found] == ["8.8.8.8"]


async def test_closing_closes_the_resolver_behind() -> None:
    inner = FixedResolver()
    await GuardedResolver(frozenset(), inner).close()
    assert inner.closed
