"""Whose network a call counts for, where a trusted proxy says for whom it asks."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from gateway.listening.peers import Peers
from tests.integration.gateway.fake_services import serve_gateway


@pytest.mark.case("S9")
async def test_a_line_of_the_proxys_own_is_believed_and_not_the_callers_above_it() -> None:
    # As HAProxy does: the caller's own line stays, and another one is added below it.
    lines = CIMultiDict([("X-Forwarded-For", "198.51.100.9"), ("X-Forwarded-For", "192.0.2.77")])
    async with serve_gateway(peers=Peers.trusting("127.0.0.0/8")) as world:
        async with world.http.post("/api/v1/sessions", json={}, headers=lines) as response:
            assert response.status == 200
        (call,) = [call for call in world.fakes.calls if "/prosa.identity" in call.method]
    assert "192.0.2.0/24" in call.metadata.values()
    assert "198.51.100.0/24" not in call.metadata.values()
