"""The cases of an RPC turn red when its service takes another organization for the caller's."""

from __future__ import annotations

from uuid import UUID

import pytest

from chassis import auth
from tests.isolation.contracts import OF_THE_PERSON, Rpc, all_rpcs
from tests.isolation.parties import Filled
from tests.isolation.rpc_leaks import Cases

OF_THE_CALLER = sorted(
    (
        rpc
        for rpc in all_rpcs()
        if rpc.of_one and not rpc.permission.across_organizations and rpc.name not in OF_THE_PERSON
    ),
    # Confused, they do what they should not: what deletes comes after what needs what is deleted.
    key=lambda rpc: (not rpc.reads, rpc.method.startswith("Delete"), rpc.name),
)
"""RPCs that learn from the token whose rows they are about."""


@pytest.mark.parametrize("rpc", OF_THE_CALLER, ids=str)
async def test_an_rpc_that_takes_the_wrong_organization_is_noticed(
    cases: Cases, filled: Filled, rpc: Rpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = auth.organization_id

    def confused() -> UUID:
        return filled.a.organization_id if honest() == filled.b.organization_id else honest()

    monkeypatch.setattr(auth, "organization_id", confused)
    assert await cases.leaks_at_all(rpc)
