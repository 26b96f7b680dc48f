"""Which network an address belongs to."""

from __future__ import annotations

import pytest

from gateway.networks import network_of


@pytest.mark.case("S9")
@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2ff:3::4", "2001:db8:1:200::/56"),
        ("fe80::1%eth0", "fe80::/56"),
        ("", ""),
        (None, ""),
        ("nonsense", ""),
    ],
)
def test_an_address_s_network_is_what_one_household_is_given(address: str | None, network: str) -> None:
    assert network_of(address) == network
