"""One gRPC address for services in several processes: every call is passed on to the process that serves it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
import grpc.aio

from chassis import rpc

HOP_HEADERS = frozenset({"grpc-trace-bin", "user-agent", "te", "content-type", "grpc-accept-encoding", "grpc-encoding"})


class GrpcProxy(grpc.GenericRpcHandler):
    """Passes calls on as bytes, by the second word of the service's name: `prosa.crm.v1.CrmService` goes to crm."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._channels = {
            service: grpc.aio.insecure_channel(address, options=rpc.CHANNEL_OPTIONS)
            for service, address in addresses.items()
        }
        self._server: grpc.aio.Server | None = None

    async def start(self, address: str) -> None:
        """Listens on the address."""
        self._server = grpc.aio.server(options=rpc.CHANNEL_OPTIONS)
        self._server.add_generic_rpc_handlers((self,))
        self._server.add_insecure_port(address)
        await self._server.start()

    async def stop(self) -> None:
        """Ends what is running at once: callers try again elsewhere."""
        if self._server is not None:
            await self._server.stop(grace=0)
        for channel in self._channels.values():
            await channel.close()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """A handler that passes on whatever the call is; None for services that nobody serves."""
        words = handler_call_details.method.lstrip("/").split(".")
        channel = self._channels.get(words[1]) if len(words) > 1 and words[0] == "prosa" else None
        if channel is None:
            return None
        method = handler_call_details.method

        async def pass_on(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
            await _pass_on(channel, method, requests, context)

        # Every kind of call is a stream of messages on the wire, so one kind of handler serves them all.
        return grpc.stream_stream_rpc_method_handler(pass_on)


async def _pass_on(
    channel: grpc.aio.Channel,
    method: str,
    requests: AsyncIterator[bytes],
    context: grpc.aio.ServicerContext[bytes, bytes],
) -> None:
    metadata = [(key, value) for key, value in context.invocation_metadata() or () if key not in HOP_HEADERS]
    multi_callable: Any = channel.stream_stream(method)
    call: Any = multi_callable(requests, metadata=metadata, timeout=context.time_remaining())
    try:
        await context.send_initial_metadata(await call.initial_metadata())
        async for answer in call:
            await context.write(answer)
    except grpc.aio.AioRpcError:
        # The status below says it.
        pass
    context.set_trailing_metadata(await call.trailing_metadata() or ())
    context.set_code(await call.code())
    context.set_details(await call.details() or "")
