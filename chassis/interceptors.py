"""What happens around every RPC on the server: who may call, is it sound, how long may it take, how does it end.

One interceptor does all of it, in a fixed order, with everything about a method compiled when the server starts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import grpc
import grpc.aio
import structlog
from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from grpc_status import rpc_status

from chassis import auth, context
from chassis.crypto import SealBroken
from chassis.db import translate
from chassis.errors import (
    DeadlineExceeded,
    InvalidArgument,
    PermissionDenied,
    ProsaError,
    Unauthenticated,
    Unavailable,
    from_status,
    to_status,
)
from chassis.rpc import deadline_too_short
from chassis.telemetry import Metrics, span
from chassis.violations import broken_rules, sentence
from prosa.v1 import options_pb2

ANSWER_SECONDS = 0.02
"""What a server keeps of the caller's deadline for itself, to say how it ended."""
WAIT_FIELD = "wait_seconds"
"""In a request: how long its caller waits for news where there is none yet."""
DEADLINE_SECONDS_MAX = 60.0
"""What a call without a deadline gets."""

# Generic to the type checker only.
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Method:
    name: str
    permission: options_pb2.Permission | None


class ServerInterceptor(grpc.aio.ServerInterceptor):
    """Authenticates, authorizes, validates, bounds, measures and logs every RPC, and translates its errors."""

    def __init__(self, verifier: auth.TokenVerifier, revocations: auth.Revocations, metrics: Metrics) -> None:
        self._verifier = verifier
        self._revocations = revocations
        self._metrics = metrics
        self._wrapped: dict[str, _Handler] = {}
        self._streams: set[asyncio.Task[object]] = set()
        self._closing = False
        self._open_methods = ("/grpc.health.v1.Health/", "/grpc.reflection.")

    def end_streams(self) -> None:
        """Ends every stream and takes no further one: they have no end of their own that a stop could wait for."""
        self._closing = True
        for task in self._streams:
            task.cancel()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        name = handler_call_details.method
        wrapped = self._wrapped.get(name)
        if wrapped is not None:
            return wrapped
        handler = await continuation(handler_call_details)
        if handler is None or name.startswith(self._open_methods):
            return handler
        method = _Method(name, permission_of(name))
        if handler.response_streaming:
            wrapped = grpc.unary_stream_rpc_method_handler(
                self._streaming(method, cast("Any", handler.unary_stream)),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        else:
            wrapped = grpc.unary_unary_rpc_method_handler(
                self._unary(method, cast("Any", handler.unary_unary)),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        self._wrapped[name] = wrapped
        return wrapped

    def _unary(self, method: _Method, handle: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Any]:
        async def call(request: Message, call_context: _Context) -> Any:
            started = time.perf_counter()
            code = grpc.StatusCode.OK
            try:
                remaining = self._enter(method, request, call_context)
                with span(method.name):
                    async with asyncio.timeout(remaining):
                        answer = await handle(request, call_context)
                if getattr(request, WAIT_FIELD, 0) and not cast("Any", method.permission).anonymous:
                    # Who was revoked while waiting for news reads none.
                    self._check_revoked(auth.caller())
                return answer
            except asyncio.CancelledError:
                # The client has gone, or the process stops: nobody waits for an answer.
                code = grpc.StatusCode.CANCELLED
                raise
            except Exception as error:
                refusal = self._refusal(method, error)
                code = refusal.code
                await call_context.abort_with_status(rpc_status.to_status(to_status(refusal)))
            finally:
                self._metrics.rpc_seconds.labels(method.name, code.name).observe(time.perf_counter() - started)

        return call

    def _streaming(
        self, method: _Method, handle: Callable[[Any, Any], AsyncIterator[Any]]
    ) -> Callable[[Any, Any], Any]:
        async def call(request: Message, call_context: _Context) -> AsyncIterator[Any]:
            started = time.perf_counter()
            code = grpc.StatusCode.OK
            task = cast("asyncio.Task[object]", asyncio.current_task())
            self._streams.add(task)
            try:
                if self._closing:
                    raise _shutting_down()
                self._enter(method, request, call_context)
                context.deadline.set(None)
                answers = handle(request, call_context)
                if method.permission is not None and not method.permission.anonymous:
                    answers = self._rightful(answers, auth.caller())
                async with aclosing(cast("AsyncGenerator[Any, None]", answers)):
                    async for answer in answers:
                        yield answer
            except asyncio.CancelledError:
                # Otherwise the client has gone, and there is nobody to tell.
                if not self._closing or task.uncancel() > 0:
                    raise
                refusal = _shutting_down()
                code = refusal.code
                await call_context.abort_with_status(rpc_status.to_status(to_status(refusal)))
            except Exception as error:
                refusal = self._refusal(method, error)
                code = refusal.code
                await call_context.abort_with_status(rpc_status.to_status(to_status(refusal)))
            finally:
                self._streams.discard(task)
                self._metrics.rpc_seconds.labels(method.name, code.name).observe(time.perf_counter() - started)

        return call

    async def _rightful(self, answers: AsyncIterator[Any], caller: auth.Caller) -> AsyncIterator[Any]:
        """The answers for as long as the caller may have them: a stream ends with its token, also while it is quiet,
        and who was revoked meanwhile reads no further."""
        async with aclosing(cast("AsyncGenerator[Any, None]", answers)):
            while True:
                limit = asyncio.timeout(self._verifier.seconds_left(caller))
                try:
                    async with limit:
                        answer = await anext(answers)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    if limit.expired():
                        raise auth.token_expired() from None
                    raise
                self._check_revoked(caller)
                # The clock may have been set since.
                self._verifier.seconds_left(caller)
                yield answer

    def _enter(self, method: _Method, request: Message, call_context: _Context) -> float:
        metadata = {key: value for key, value in call_context.invocation_metadata() or () if isinstance(value, str)}
        context.correlation_id.set(context.accepted_correlation_id(metadata.get("x-correlation-id")))
        context.trace_parent.set(context.accepted_trace_parent(metadata.get("traceparent")))
        context.client_network.set(context.accepted_client_network(metadata.get("x-client-network")))
        remaining = cast("float | None", call_context.time_remaining())
        if remaining is None:
            remaining = DEADLINE_SECONDS_MAX
        elif remaining < context.WORK_SECONDS_MIN:
            raise deadline_too_short()
        else:
            remaining = min(remaining, DEADLINE_SECONDS_MAX) - ANSWER_SECONDS
        context.deadline.set(time.monotonic() + remaining)
        self._authorize(method, metadata.get("authorization"))
        if violations := broken_rules(request):
            raise InvalidArgument("REQUEST_INVALID", sentence(violations), violations=violations)
        return remaining

    def _authorize(self, method: _Method, authorization: str | None) -> None:
        auth.set_caller(None)
        if method.permission is None:
            raise PermissionDenied("PERMISSION_UNDECLARED", f"{method.name} declares no permission.")
        caller = None
        if authorization is not None and not method.permission.anonymous:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "bearer" or not token:
                raise Unauthenticated("TOKEN_INVALID", "The authorization must read: Bearer <token>.")
            caller = self._verifier.verify(token.strip())
            auth.check_audience(method.name, caller)
            self._check_revoked(caller)
        self._verifier.check_permission(method.permission, caller)
        auth.set_caller(caller)

    def _check_revoked(self, caller: auth.Caller) -> None:
        if caller.kind == "service":
            return
        self._revocations.check(caller)
        if self._revocations.outdated:
            raise Unavailable("REVOCATIONS_UNKNOWN", "Revoked keys cannot be told from valid ones just now.")

    def _refusal(self, method: _Method, error: Exception) -> ProsaError:
        if isinstance(error, grpc.aio.AbortError):
            raise error
        if isinstance(error, TimeoutError):
            return DeadlineExceeded("DEADLINE_EXCEEDED", "It could not be done in the time that was given.")
        if isinstance(error, SealBroken):
            logger.error("secret_unreadable", method=method.name, error=str(error))
            return Unavailable(
                "SECRET_UNREADABLE", "A kept secret cannot be opened with this installation's keys. Tell its operator."
            )
        refusal = error if isinstance(error, ProsaError) else _translated(error)
        if refusal is not None:
            logger.info("rpc_refused", method=method.name, reason=refusal.reason, code=refusal.code.name)
            return refusal
        logger.error("rpc_failed", method=method.name, exc_info=error)
        return _Internal("INTERNAL", "Something went wrong on our side; it was logged under the correlation id.")


class _Internal(ProsaError):
    code = grpc.StatusCode.INTERNAL


def _shutting_down() -> ProsaError:
    return Unavailable("SHUTTING_DOWN", "This process is stopping; call again to resume.")


def permission_of(method_name: str) -> options_pb2.Permission | None:
    """The permission that the contract of ``/package.Service/Method`` declares, or None."""
    service_name, _, method = method_name.lstrip("/").partition("/")
    try:
        descriptor = descriptor_pool.Default().FindServiceByName(service_name)
    except KeyError:
        return None
    options = descriptor.methods_by_name[method].GetOptions()
    if not options.HasExtension(options_pb2.permission):
        return None
    return options.Extensions[options_pb2.permission]


def _translated(error: Exception) -> ProsaError | None:
    if isinstance(error, grpc.aio.AioRpcError):
        status = rpc_status.from_call(cast("grpc.Call", error))
        if status is not None:
            return from_status(status)
        if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
            return Unavailable("SERVICE_UNAVAILABLE", "A service that is needed does not answer. Try again soon.")
    return translate(error)
