"""Which keys of connections there are: asked once for each, so that a stranger's body is never read.

A connection's key does not change, so one that was known is believed; the truth is what ingest says of a webhook.
Keys that were never heard of are asked for in calls of their own, a hundred at a time: whoever guesses stands among
none whose key is known. A genuine one stands among them once, with its first webhook at this gateway; where too many
wait for that, it is answered 503.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

import grpc.aio

from chassis.batcher import Batcher
from gateway.credentials import ServiceTokens
from gateway.limits import (
    KEY_LOOKUP_BATCH_MAX,
    KEY_LOOKUP_TIMEOUT_SECONDS,
    KEY_LOOKUPS_WAITING_MAX,
    KEYS_KNOWN_MAX,
    KEYS_UNKNOWN_MAX,
    UNKNOWN_KEY_SECONDS,
)
from prosa.ingest.v1 import ingest_service_pb2 as pb

if TYPE_CHECKING:
    from prosa.ingest.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

_KEY_BYTES = 128


class Named(NamedTuple):
    """A provider's key, as a request names it."""

    provider: pb.Provider.ValueType
    key: str


class WebhookKeys:
    """Remembers which keys are known, and asks ingest for the others."""

    def __init__(self, stub: IngestServiceAsyncStub, tokens: ServiceTokens) -> None:
        self._stub = stub
        self._tokens = tokens
        self._known: OrderedDict[Named, str] = OrderedDict()
        self._unknown: OrderedDict[Named, float] = OrderedDict()
        self._batcher: Batcher[Named, str] = Batcher(
            self._ask,
            size_of=lambda _: _KEY_BYTES,
            flushers=1,
            items_max=KEY_LOOKUP_BATCH_MAX,
            bytes_max=KEY_LOOKUP_BATCH_MAX * _KEY_BYTES,
            queue_items_max=KEY_LOOKUPS_WAITING_MAX,
            queue_bytes_max=KEY_LOOKUPS_WAITING_MAX * _KEY_BYTES,
        )

    def remembered(self, named: Named) -> bool | None:
        """Whether a key is known; None where that must be asked."""
        if named in self._known:
            self._known.move_to_end(named)
            return True
        until = self._unknown.get(named)
        return None if until is None or until <= time.monotonic() else False

    def connection_id(self, named: Named) -> str:
        """The connection behind a known key; empty where it is not known."""
        return self._known.get(named, "")

    async def known(self, named: Named) -> bool:
        """Whether there is such a key.

        Raises Unavailable where too many are asked for, AioRpcError where ingest does not answer.
        """
        remembered = self.remembered(named)
        if remembered is not None:
            return remembered
        try:
            connection_id = await self._batcher.submit(named)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                # Ingest is of the release before: it says what a key is worth when it gets the webhook.
                return True
            raise
        if connection_id:
            self._known[named] = connection_id
            if len(self._known) > KEYS_KNOWN_MAX:
                self._known.popitem(last=False)
        else:
            self.forget(named)
        return bool(connection_id)

    def forget(self, named: Named) -> None:
        """Takes a key for unknown, for a while."""
        self._known.pop(named, None)
        self._unknown[named] = time.monotonic() + UNKNOWN_KEY_SECONDS
        self._unknown.move_to_end(named)
        if len(self._unknown) > KEYS_UNKNOWN_MAX:
            self._unknown.popitem(last=False)

    async def close(self) -> None:
        """Answers when all that was asked for is answered."""
        await self._batcher.close()

    async def _ask(self, wanted: list[Named]) -> list[str]:
        token = self._tokens.service_token("ingest")
        answer = await self._stub.ResolveConnectionKeys(
            pb.ResolveConnectionKeysRequest(
                connection_keys=[pb.ConnectionKey(provider=named.provider, key=named.key) for named in wanted]
            ),
            timeout=KEY_LOOKUP_TIMEOUT_SECONDS,
            metadata=(("authorization", f"Bearer {token}"),),
            wait_for_ready=True,
        )
        return list(answer.connection_ids)
