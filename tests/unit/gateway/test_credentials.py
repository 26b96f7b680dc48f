"""API keys and the tokens they are exchanged for."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest

from chassis.errors import Unauthenticated
from gateway.credentials import ApiKeys
from gateway.limits import REFUSED_KEY_SECONDS
from prosa.identity.v1.access_service_pb2 import Token


class Identity:
    """Exchanges keys, or refuses, and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.now = 1000.0
        self.error: grpc.StatusCode | None = None
        self.release = asyncio.Event()
        self.release.set()
        self.keys = ApiKeys(self.exchange, lambda: self.now)

    async def exchange(self, api_key: str) -> Token:
        self.asked.append(api_key)
        await self.release.wait()
        if self.error is not None:
            raise grpc.aio.AioRpcError(self.error, grpc.aio.Metadata(), grpc.aio.Metadata())
        return Token(access_token=f"token-{len(self.asked)}", expires_in=600)


async def test_a_token_is_kept_until_a_minute_before_it_ends() -> None:
    identity = Identity()
    assert await identity.keys.token("k") == "token-1"
    identity.now += 539.9
    assert await identity.keys.token("k") == "token-1"
    identity.now += 0.2
    assert await identity.keys.token("k") == "token-2"


async def test_many_who_ask_at_once_cause_one_exchange_and_one_may_leave() -> None:
    identity = Identity()
    identity.release.clear()
    tasks = [asyncio.create_task(identity.keys.token("k")) for _ in range(5)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.sleep(0)
    identity.release.set()
    assert await asyncio.gather(*tasks[1:]) == ["token-1"] * 4
    assert identity.asked == ["k"]


async def test_a_refused_key_is_remembered_for_a_moment() -> None:
    identity = Identity()
    identity.error = grpc.StatusCode.UNAUTHENTICATED
    for _ in range(3):
        with pytest.raises(Unauthenticated) as refused:
            await identity.keys.token("k")
        assert refused.value.reason == "API_KEY_INVALID"
    assert identity.asked == ["k"]
    identity.now += REFUSED_KEY_SECONDS
    identity.error = None
    assert await identity.keys.token("k") == "token-2"


async def test_an_identity_that_is_away_is_asked_again() -> None:
    identity = Identity()
    identity.error = grpc.StatusCode.UNAVAILABLE
    with pytest.raises(grpc.aio.AioRpcError):
        await identity.keys.token("k")
    identity.error = None
    assert await identity.keys.token("k") == "token-2"


async def test_only_so_many_keys_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.credentials.TOKEN_CACHE_ENTRIES_MAX", 2)
    identity = Identity()
    for key in ("a", "b", "a", "c", "a"):
        await identity.keys.token(key)
    assert identity.asked == ["a", "b", "c"]
    await identity.keys.token("b")
    assert identity.asked == ["a", "b", "c", "b"]


@pytest.mark.parametrize("key", ["é", "x" * 257])
async def test_what_cannot_be_a_key_is_refused_without_asking(key: str) -> None:
    identity = Identity()
    with pytest.raises(Unauthenticated):
        await identity.keys.token(key)
    assert identity.asked == []
