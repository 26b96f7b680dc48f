"""Errors as HTTP tells them: application/problem+json (RFC 9457), with the reason programs decide by.

Nothing of an unexpected error reaches the caller: it is logged, and answered with a fixed sentence.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import grpc
import orjson
from aiohttp import web
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from chassis.errors import ProsaError, from_status
from gateway.limits import RETRY_AFTER_SECONDS

PROBLEM_TYPE = "application/problem+json"
STATUS_DETAILS = "grpc-status-details-bin"
RETRY_AFTER_METADATA = "retry_after_seconds"
"""An error's metadata may say when to come again; else a second is said."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What an error looks like over HTTP."""

    status: int
    title: str
    reason: str
    detail: str
    violations: tuple[tuple[str, str], ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Kind:
    status: int
    title: str
    # Where a call failed without saying why: the reason and the sentence that stand in for it.
    reason: str
    detail: str


_C = grpc.StatusCode
_INTERNAL = _Kind(500, "Internal error", "INTERNAL", "Something went wrong here. It is logged; try again later.")
_KINDS: dict[grpc.StatusCode, _Kind] = {
    _C.INVALID_ARGUMENT: _Kind(400, "Invalid argument", "INVALID_ARGUMENT", "The request can never succeed as it is."),
    _C.OUT_OF_RANGE: _Kind(400, "Out of range", "OUT_OF_RANGE", "The position is outside of what is kept."),
    _C.FAILED_PRECONDITION: _Kind(
        400, "Failed precondition", "FAILED_PRECONDITION", "Not possible in the state things are in."
    ),
    _C.UNAUTHENTICATED: _Kind(
        401, "Unauthenticated", "UNAUTHENTICATED", "Send Authorization: Bearer with a token, or X-Api-Key with a key."
    ),
    _C.PERMISSION_DENIED: _Kind(403, "Permission denied", "PERMISSION_DENIED", "The caller may not do this."),
    _C.NOT_FOUND: _Kind(404, "Not found", "NOT_FOUND", "There is nothing here that the caller may see."),
    _C.ALREADY_EXISTS: _Kind(409, "Already exists", "ALREADY_EXISTS", "It exists already."),
    _C.ABORTED: _Kind(409, "Aborted", "ABORTED", "Somebody else was faster: read again, then retry."),
    _C.RESOURCE_EXHAUSTED: _Kind(429, "Limit reached", "RESOURCE_EXHAUSTED", "A limit was reached; slow down."),
    _C.UNIMPLEMENTED: _Kind(501, "Not implemented", "UNIMPLEMENTED", "This is not served here yet."),
    _C.UNAVAILABLE: _Kind(503, "Unavailable", "SERVICE_UNAVAILABLE", "A service is away; try again soon."),
    _C.DEADLINE_EXCEEDED: _Kind(504, "Deadline exceeded", "DEADLINE_EXCEEDED", "It took too long; try again."),
}
_KIND_BY_STATUS = {kind.status: kind for kind in reversed(_KINDS.values())}
_RETRIED = frozenset({429, 503})

MALFORMED = Problem(400, "Bad request", "REQUEST_MALFORMED", "This cannot be read as an HTTP/1.1 request.")
HEADERS_SLOW = Problem(408, "Request timeout", "HEADERS_SLOW", "The headers did not arrive in time.")
HEADERS_TOO_LARGE = Problem(
    431, "Request header fields too large", "HEADERS_TOO_LARGE", "The headers are larger than any request needs."
)
"""What is told where there is no request that the application could answer."""

_HTTP_REASONS = {
    404: ("PATH_NOT_FOUND", "Nothing lives at this path; /api/docs lists what does."),
    405: ("METHOD_NOT_ALLOWED", "This path does not take this method; see the Allow header."),
    408: ("BODY_SLOW", "The body did not arrive in time."),
    410: ("OWN_POST", "This is a post of Prosa to a webhook address of Prosa, which would tell itself of it for ever."),
    413: ("BODY_TOO_LARGE", "The body is larger than this path takes."),
    417: ("EXPECTATION_UNKNOWN", "The only expectation that is met here is 100-continue."),
    505: ("HTTP_VERSION_UNSUPPORTED", "Speak HTTP/1.1."),
    415: ("CONTENT_ENCODING_UNSUPPORTED", "Send the body without Content-Encoding."),
}


def from_error(error: ProsaError) -> Problem:
    """Answers the problem that an error of ours is told as."""
    kind = _KINDS.get(error.code)
    if kind is None:
        return from_kind(_INTERNAL)
    headers: tuple[tuple[str, str], ...] = ()
    if kind.status == HTTPStatus.UNAUTHORIZED:
        headers = (("WWW-Authenticate", 'Bearer realm="prosa"'),)
    elif kind.status in _RETRIED:
        headers = (("Retry-After", _retry_after(error.metadata.get(RETRY_AFTER_METADATA, ""))),)
    return Problem(
        status=kind.status,
        title=kind.title,
        reason=error.reason,
        detail=error.message,
        violations=tuple((item.field, item.description) for item in error.violations),
        metadata=tuple(sorted(error.metadata.items())),
        headers=headers,
    )


def from_kind(kind: _Kind) -> Problem:
    headers = (("Retry-After", str(RETRY_AFTER_SECONDS)),) if kind.status in _RETRIED else ()
    if kind.status == HTTPStatus.UNAUTHORIZED:
        headers = (("WWW-Authenticate", 'Bearer realm="prosa"'),)
    return Problem(status=kind.status, title=kind.title, reason=kind.reason, detail=kind.detail, headers=headers)


def from_call(error: grpc.aio.AioRpcError) -> Problem:
    """Answers the problem of a failed call: with its own words where the service gave a status, else with fixed ones.

    A transport's own message names addresses and sockets; those are nobody's business outside.
    """
    told = to_prosa_error(error)
    return from_kind(_KINDS.get(error.code(), _INTERNAL)) if told is None else from_error(told)


def to_prosa_error(error: grpc.aio.AioRpcError) -> ProsaError | None:
    """Answers the error that a service raised, or None where the call failed on its way."""
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_DETAILS and isinstance(value, bytes):
            try:
                return from_status(status_pb2.Status.FromString(value))
            except DecodeError:
                return None
    return None


def from_http(error: web.HTTPException) -> Problem:
    """Answers the problem of an error that the HTTP server raised itself."""
    known = _KIND_BY_STATUS.get(error.status)
    reason, detail = _HTTP_REASONS.get(error.status, (None, None))
    headers = tuple((name, error.headers[name]) for name in ("Allow", "Location") if name in error.headers)
    return Problem(
        status=error.status,
        title=known.title if known else HTTPStatus(error.status).phrase,
        reason=reason or (known.reason if known else HTTPStatus(error.status).name),
        detail=detail or (known.detail if known else HTTPStatus(error.status).description),
        headers=headers,
    )


def status_of(code: grpc.StatusCode) -> int:
    """Answers the HTTP status of a canonical code."""
    return _KINDS.get(code, _INTERNAL).status


def unexpected() -> Problem:
    """The problem that every unexpected error is told as."""
    return from_kind(_INTERNAL)


def body(problem: Problem, correlation_id: str) -> dict[str, Any]:
    """Answers the members of the problem's JSON."""
    return {
        "type": f"/api/docs#{problem.reason}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "reason": problem.reason,
        "violations": [{"field": field, "description": text} for field, text in problem.violations],
        "metadata": dict(problem.metadata),
        "correlation_id": correlation_id,
    }


def response(problem: Problem, correlation_id: str) -> web.Response:
    """Answers the problem as an HTTP response."""
    return web.Response(
        status=problem.status,
        body=orjson.dumps(body(problem, correlation_id)),
        content_type=PROBLEM_TYPE,
        headers=dict(problem.headers),
    )


def _retry_after(seconds: str) -> str:
    return seconds if seconds.isascii() and seconds.isdigit() and int(seconds) > 0 else str(RETRY_AFTER_SECONDS)
