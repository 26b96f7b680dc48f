"""Who is told which connection a webhook's key is: the gateway alone, and of nothing but a whole key."""

from __future__ import annotations

import aiohttp
import grpc
import pytest

from prosa.ingest.v1 import ingest_service_pb2 as pb
from prosa.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from tests.harness import open_harness
from tests.world import World

OTHERS = ("cli", "crm", "conversation", "identity", "outreach", "ingest")


def asking(*keys: str, provider: pb.Provider.ValueType = pb.PROVIDER_CHATWOOT) -> pb.ResolveConnectionKeysRequest:
    """A request for some keys."""
    return pb.ResolveConnectionKeysRequest(
        connection_keys=[pb.ConnectionKey(provider=provider, key=key) for key in keys]
    )


@pytest.mark.case("S1")
async def test_only_the_gateway_is_told_whose_a_key_is_and_only_of_a_whole_one(
    world: World, session: aiohttp.ClientSession
) -> None:
    harnesses = [await open_harness(world, session) for _ in range(2)]
    keys = [harness.connection.webhook_path.rpartition("/")[2] for harness in harnesses]
    gateway = world.as_service("gateway").stub(IngestServiceStub)
    near = [keys[0][:-1], keys[0] + "A", keys[0].swapcase(), "nobody-knows-this-key"]
    answer = await gateway.ResolveConnectionKeys(asking(*keys, *near))
    ids = [harness.connection.connection_id for harness in harnesses]
    assert list(answer.connection_ids) == [*ids, "", "", "", ""]
    # An id and no more: nothing of whose it is, and none for a key at another provider's address.
    answer = await gateway.ResolveConnectionKeys(asking(keys[0], provider=pb.PROVIDER_EVOLUTION))
    assert list(answer.connection_ids) == [""]
    for name in OTHERS:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await world.as_service(name).stub(IngestServiceStub).ResolveConnectionKeys(asking(*keys))
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    person = world.as_user(harnesses[0].organization_id).stub(IngestServiceStub)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await person.ResolveConnectionKeys(asking(keys[0]))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
