"""The errors a service raises, one class per canonical gRPC code.

ProsaError
├── InvalidArgument       the request can never succeed as it is
├── OutOfRange            a position past what is kept
├── Unauthenticated       no caller, or one that cannot be believed
├── PermissionDenied      a caller that may not
├── NotFound              nothing there that the caller may see
├── AlreadyExists         the name or key is taken
├── FailedPrecondition    not in this state
├── Aborted               somebody else was faster; read again and retry
├── ResourceExhausted     a limit was reached
├── DeadlineExceeded      not done in time
└── Unavailable           try again soon

Each carries a reason from its service's ``error_reason.proto`` and a sentence a person can act on.
Interceptors turn them into ``google.rpc.Status`` with ``ErrorInfo``; the gateway into problem+json.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "prosa"
"""``ErrorInfo.domain`` of every error of this product."""


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """What is wrong with one field of the request."""

    field: str
    description: str


class ProsaError(Exception):
    """An error with a canonical code, a reason for programs and a message for people."""

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN

    def __init__(
        self, reason: str, message: str, *, violations: Sequence[FieldViolation] = (), **metadata: str
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.violations = tuple(violations)
        self.metadata = metadata

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class InvalidArgument(ProsaError):
    code = grpc.StatusCode.INVALID_ARGUMENT


class OutOfRange(ProsaError):
    code = grpc.StatusCode.OUT_OF_RANGE


class Unauthenticated(ProsaError):
    code = grpc.StatusCode.UNAUTHENTICATED


class PermissionDenied(ProsaError):
    code = grpc.StatusCode.PERMISSION_DENIED


class NotFound(ProsaError):
    code = grpc.StatusCode.NOT_FOUND


class AlreadyExists(ProsaError):
    code = grpc.StatusCode.ALREADY_EXISTS


class FailedPrecondition(ProsaError):
    code = grpc.StatusCode.FAILED_PRECONDITION


class Aborted(ProsaError):
    code = grpc.StatusCode.ABORTED


class ResourceExhausted(ProsaError):
    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class DeadlineExceeded(ProsaError):
    code = grpc.StatusCode.DEADLINE_EXCEEDED


class Unavailable(ProsaError):
    code = grpc.StatusCode.UNAVAILABLE


_BY_CODE: dict[int, type[ProsaError]] = {
    error.code.value[0]: error
    for error in (
        InvalidArgument,
        OutOfRange,
        Unauthenticated,
        PermissionDenied,
        NotFound,
        AlreadyExists,
        FailedPrecondition,
        Aborted,
        ResourceExhausted,
        DeadlineExceeded,
        Unavailable,
    )
}


def to_status(error: ProsaError) -> status_pb2.Status:
    """The wire form: canonical code, message, ``ErrorInfo`` and, where fields are wrong, ``BadRequest``."""
    status = status_pb2.Status(code=error.code.value[0], message=error.message)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    _pack(status, info)
    if error.violations:
        bad = error_details_pb2.BadRequest()
        for violation in error.violations:
            bad.field_violations.add(field=violation.field, description=violation.description)
        _pack(status, bad)
    return status


def from_status(status: status_pb2.Status) -> ProsaError:
    """The error that a status tells of; the reason is ``UNKNOWN`` where it carries none."""
    reason, metadata, violations = "UNKNOWN", {}, []
    for detail in status.details:
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(bad):
            violations = [FieldViolation(item.field, item.description) for item in bad.field_violations]
    kind = _BY_CODE.get(status.code, ProsaError)
    return kind(reason, status.message, violations=violations, **metadata)


def _pack(status: status_pb2.Status, detail: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest) -> None:
    packed = any_pb2.Any()
    packed.Pack(detail)
    status.details.append(packed)
