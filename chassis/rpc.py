"""Calling another service: every call has a deadline, carries who calls, and the correlation id and trace at hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast
from uuid import UUID

import grpc
import grpc.aio
from grpc_status import rpc_status

from chassis import context
from chassis.auth import TokenSigner, audience_of
from chassis.errors import DeadlineExceeded, ProsaError, Unavailable, from_status, to_status

CALL_SECONDS = 10.0
"""The deadline of a call whose caller set none and that has no other."""
HOP_SECONDS = 0.02
"""What each hop keeps of its own caller's deadline, so that it can still answer when the one below does not."""
MESSAGE_BYTES_MAX = 64 * 1024 * 1024
"""Above the largest webhook body, 32 MiB, with space for the rest of its batch."""

_ACTING_FOR = "prosa-acting-for"
"""Stays in this process: the channel signs for the organization instead of sending it."""

CONNECT_MS_MAX = 2_000
CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    # A peer that froze or a network that went away must not hold a connection that looks alive.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Also how long a connection may take to be made: a server on a busy machine greets late, and is not away.
    ("grpc.min_reconnect_backoff_ms", CONNECT_MS_MAX),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.use_local_subchannel_pool", 1),
    # A proxy of the environment is for the internet: tokens and bodies of our own calls are not for it.
    ("grpc.enable_http_proxy", 0),
]


class _Completing:
    """Adds the deadline and the metadata; where the call brings no authorization, this service's own token."""

    def __init__(self, signer: TokenSigner | None) -> None:
        self._signer = signer

    def _completed(self, details: grpc.aio.ClientCallDetails, *, bounded: bool) -> grpc.aio.ClientCallDetails:
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        acting_for = metadata.get(_ACTING_FOR)
        if acting_for is not None:
            del metadata[_ACTING_FOR]
        if metadata.get("authorization") is None and self._signer is not None:
            # Declared as a text, and bytes in fact.
            method = cast("str | bytes", details.method)
            method = method.decode() if isinstance(method, bytes) else method
            organization_id = None if acting_for is None else UUID(str(acting_for))
            token = self._signer.service_token(audience_of(method), organization_id)
            metadata.add("authorization", f"Bearer {token}")
        if (correlation := context.correlation_id.get()) and metadata.get("x-correlation-id") is None:
            metadata.add("x-correlation-id", correlation)
        if (parent := context.trace_parent.get()) and metadata.get("traceparent") is None:
            metadata.add("traceparent", parent)
        if network := context.client_network.get():
            metadata.add("x-client-network", network)
        timeout = details.timeout
        if timeout is None and bounded:
            timeout = context.seconds_left(CALL_SECONDS) - HOP_SECONDS
            if timeout < context.WORK_SECONDS_MIN:
                # The other side would refuse it, a trip later.
                raise as_answered(deadline_too_short())
        return grpc.aio.ClientCallDetails(
            details.method, timeout, metadata, details.credentials, details.wait_for_ready
        )


# A channel asks of each interceptor only what it is first, so calls and streams take one each.
class _CallInterceptor(_Completing, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Callable[..., Awaitable[Any]], details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await continuation(self._completed(details, bounded=True), request)


class _StreamInterceptor(_Completing, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Callable[..., Awaitable[Any]], details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await continuation(self._completed(details, bounded=False), request)


def open_channel(address: str, signer: TokenSigner | None, *, bare: bool = False) -> grpc.aio.Channel:
    """A channel to ``host:port`` or ``unix:/path`` that completes every call made over it.

    A bare one leaves calls as they are, for who brings deadline and metadata with each: to complete one costs a tenth
    of it.
    """
    completing: list[grpc.aio.ClientInterceptor] = [_CallInterceptor(signer), _StreamInterceptor(signer)]
    return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS, interceptors=[] if bare else completing)


def for_organization(organization_id: UUID) -> grpc.aio.Metadata:
    """Metadata of a call that this service makes for one organization, over a channel that signs."""
    return grpc.aio.Metadata((_ACTING_FOR, str(organization_id)))


def deadline_too_short() -> DeadlineExceeded:
    """The refusal of a call that has no time to be worked on."""
    return DeadlineExceeded(
        "DEADLINE_TOO_SHORT",
        f"Less than {context.WORK_SECONDS_MIN * 1_000:.0f} ms were left to begin with. Call with a longer deadline.",
    )


def as_answered(error: ProsaError) -> grpc.aio.AioRpcError:
    """The error as a caller would have it from the other side."""
    status = rpc_status.to_status(to_status(error))
    trailing = grpc.aio.Metadata(*(status.trailing_metadata or ()))
    return grpc.aio.AioRpcError(error.code, grpc.aio.Metadata(), trailing, error.message)


def error_of(error: grpc.aio.AioRpcError) -> ProsaError:
    """What a failed call says: the service's own error, or Unavailable and DeadlineExceeded where nobody answered."""
    status = rpc_status.from_call(cast("grpc.Call", error))
    if status is not None:
        return from_status(status)
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded("DEADLINE_EXCEEDED", "The service did not answer in time. Try again soon.")
    if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return Unavailable("SERVICE_UNAVAILABLE", "The service does not answer. Try again soon.")
    return ProsaError("RPC_FAILED", error.details() or error.code().name)
