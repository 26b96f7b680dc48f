"""Every RPC of the contracts, called by one organization with the other's ids."""

from __future__ import annotations

import pytest

from tests.isolation.contracts import Rpc, all_rpcs
from tests.isolation.rpc_leaks import Cases

RPCS = sorted(all_rpcs(), key=lambda rpc: (not rpc.reads, rpc.name))
"""Those that read come first: B has written none of A's ids into its own rows by then."""


@pytest.mark.req("ID-12", "ID-22")
@pytest.mark.parametrize("rpc", RPCS, ids=str)
@pytest.mark.case("O15")
async def test_b_learns_and_changes_nothing_of_a(cases: Cases, rpc: Rpc) -> None:
    assert await cases.leaks(rpc) == []
    assert await cases.own_call(rpc) == []
    # What A has just made is B's no more than what was there before.
    assert await cases.leaks(rpc) == []
