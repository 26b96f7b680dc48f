"""What can be called over HTTP: each bound RPC with what its contract says of it, for the document and for the page."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from chassis.enums import enum_text
from chassis.transcoding.plans import is_cookie
from gateway import problems
from gateway.openapi import examples
from gateway.openapi.comments import DeclaredError, comments, split_errors
from gateway.openapi.schemas import example_of
from gateway.transcoding.bindings import REQUEST_ID, Binding
from prosa.v1 import options_pb2

GENERAL_ERRORS: tuple[tuple[DeclaredError, str], ...] = (
    (DeclaredError("INVALID_ARGUMENT", "JSON_MALFORMED"), "The body is no JSON; metadata says line and column."),
    (DeclaredError("INVALID_ARGUMENT", "FIELD_UNKNOWN"), "A field that the request does not have."),
    (DeclaredError("INVALID_ARGUMENT", "FIELD_INVALID"), "A value of the wrong kind, or an id that is none."),
    (DeclaredError("INVALID_ARGUMENT", "REQUEST_INVALID"), "A rule of the contract is broken; violations say which."),
    (DeclaredError("UNAUTHENTICATED", "TOKEN_MISSING"), "Neither a token nor an API key was sent."),
    (DeclaredError("UNAUTHENTICATED", "TOKEN_INVALID"), "The token cannot be believed."),
    (DeclaredError("UNAUTHENTICATED", "TOKEN_EXPIRED"), "The token has ended; get a new one."),
    (DeclaredError("UNAUTHENTICATED", "API_KEY_INVALID"), "The API key is not known, or was revoked."),
    (DeclaredError("PERMISSION_DENIED", "ROLE_TOO_LOW"), "The person's role does not suffice."),
    (DeclaredError("PERMISSION_DENIED", "SCOPE_MISSING"), "The API key lacks the scope."),
    (DeclaredError("PERMISSION_DENIED", "PEOPLE_ONLY"), "No API key may call this, whatever its scopes."),
    (DeclaredError("PERMISSION_DENIED", "MFA_REQUIRED"), "A person must show a second factor first."),
    (DeclaredError("PERMISSION_DENIED", "CSRF_INVALID"), "A browser's write without X-Prosa-Csrf, or of another site."),
    (DeclaredError("UNAUTHENTICATED", "SESSION_ENDED"), "The browser's session has ended; sign in again."),
    (DeclaredError("UNAVAILABLE", "SERVICE_UNAVAILABLE"), "A service is away; Retry-After says when to come again."),
    (DeclaredError("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"), "It took too long."),
)
"""What any operation may answer, with a sentence each."""
EXAMPLE_URL = "http://localhost:8080"
"""Where examples call; whoever shows them to a reader puts the reader's own address there."""
_PREFIX = "/api/v1/"
_VERB = re.compile(r"[A-Z][a-z]+")


@dataclass(frozen=True)
class Operation:
    """One bound RPC as a reader sees it."""

    binding: Binding
    # Unique in the document: the RPC's name; of an RPC with several paths, what each path says.
    operation_id: str
    summary: str
    description: str
    permission: str
    scope: str
    anonymous: bool
    # Whether API keys are refused, whatever their scopes.
    people_only: bool
    errors: tuple[DeclaredError, ...]

    @property
    def group(self) -> str:
        """The service's name without its last word: "Contact"."""
        return self.binding.rpc.containing_service.name.removesuffix("Service")

    @property
    def body_fields(self) -> tuple[FieldDescriptor, ...]:
        """The fields of the JSON body; none where there is none."""
        fields = self.binding.rpc.input_type.fields
        if self.binding.body == "*":
            return tuple(field for field in fields if field.name not in self.binding.path_fields)
        return tuple(field for field in fields if field.name == self.binding.body)

    @property
    def takes_request_id(self) -> bool:
        """Whether a retry can be told from a new request."""
        return REQUEST_ID in self.binding.rpc.input_type.fields_by_name


def operations(bound: Sequence[Binding]) -> tuple[Operation, ...]:
    """Answers the operations of bindings, in their order."""
    paths_of = Counter(binding.rpc.full_name for binding in bound)
    found = []
    for binding in bound:
        name = binding.rpc.name
        text, errors = split_errors(comments().get(binding.rpc.full_name, ""))
        permission = binding.rpc.GetOptions().Extensions[options_pb2.permission]
        found.append(
            Operation(
                binding=binding,
                operation_id=name if paths_of[binding.rpc.full_name] == 1 else path_name(binding),
                summary=_first_sentence(text) or name,
                description=text,
                permission=describe_permission(permission),
                scope=permission.scope,
                anonymous=permission.anonymous,
                people_only=permission.step_up or not permission.scope,
                errors=tuple(errors),
            )
        )
    return tuple(found)


def path_name(binding: Binding) -> str:
    """Answers what a path does, in one word: "ListConnectionChannels" for channels below a connection."""
    words = [_VERB.match(binding.rpc.name)[0]]  # type: ignore[index]
    segments = [segment.partition(":")[0] for segment in binding.template.removeprefix(_PREFIX).split("/")]
    for segment, following in zip(segments, [*segments[1:], ""], strict=True):
        if not segment.startswith("{"):
            word = segment.replace("-", " ").title().replace(" ", "")
            words.append(_one_of(word) if following.startswith("{") else word)
    return "".join(words)


def _one_of(plural: str) -> str:
    return f"{plural[:-3]}y" if plural.endswith("ies") else plural.removesuffix("s")


def describe_permission(permission: options_pb2.Permission) -> str:
    """Says in a sentence who may call."""
    if permission.anonymous:
        return "Anyone may call this."
    ways = []
    if permission.role:
        role = enum_text(options_pb2.Role, permission.role).lower()
        shown = " who has shown a second factor within 15 minutes" if permission.step_up else ""
        ways.append(f"a person with the role {role} or above{shown}")
    if permission.scope:
        ways.append(f"an API key with the scope {permission.scope}")
    return f"May be called by {' or '.join(ways)}." if ways else "Only services of Prosa may call this."


def http_status(code: str) -> int:
    """Answers the HTTP status of a canonical code's name."""
    return problems.status_of(grpc.StatusCode[code])


def status_phrase(status: int) -> str:
    return HTTPStatus(status).phrase


def curl_example(operation: Operation, base_url: str = EXAMPLE_URL) -> str:
    """Answers a command that calls the operation, with example values."""
    binding = operation.binding
    fields = binding.rpc.input_type.fields_by_name
    path = re.sub(r"\{(\w+)\}", lambda match: str(example_of(fields[match[1]]) or match[1].upper()), binding.template)
    method = "" if binding.http_method == "GET" else f" -X {binding.http_method}"
    lines = [f"curl{method} {base_url}{path}"]
    if operation.scope:
        lines.append('  -H "X-Api-Key: $PROSA_API_KEY"')
    elif not operation.anonymous:
        # No key may do this, only somebody who has signed in.
        lines.append('  -H "Authorization: Bearer $PROSA_TOKEN"')
    if binding.body:
        body = request_example(operation)
        lines.append("  -H 'Content-Type: application/json'")
        # Within single quotes a shell ends at the next one.
        lines.append(f"  -d '{json.dumps(body, ensure_ascii=False)}'".replace("\n", " "))
    return " \\\n".join(lines)


def request_example(operation: Operation) -> dict[str, Any]:
    """Answers a body that the operation takes."""
    known = examples.REQUESTS.get(operation.binding.rpc.name)
    if known is not None:
        return known
    return {field.name: value for field in operation.body_fields if (value := _example_value(field)) is not None}


def example_message(descriptor: Descriptor, depth: int = 0) -> dict[str, Any]:
    """Answers an example of a whole message: fields that have no telling example show their empty form."""
    shown: dict[str, Any] = {}
    for field in descriptor.fields:
        if is_cookie(field):
            continue
        if field.containing_oneof is not None and field.containing_oneof.fields[0] is not field:
            continue
        if field.message_type is not None and example_of(field) is None:
            if field.message_type.GetOptions().map_entry:
                shown[field.name] = {}
            elif depth >= 2:
                shown[field.name] = [] if field.is_repeated else None
            else:
                nested = example_message(field.message_type, depth + 1)
                shown[field.name] = [nested] if field.is_repeated else nested
            continue
        example = example_of(field)
        shown[field.name] = _empty(field) if example is None else example
    return shown


def _example_value(field: FieldDescriptor) -> Any:
    if field.name == REQUEST_ID:
        return None
    if field.message_type is not None and example_of(field) is None:
        return None
    return example_of(field)


def _empty(field: FieldDescriptor) -> Any:
    if field.is_repeated:
        return []
    if field.type == FieldDescriptor.TYPE_BOOL:
        return False
    return "" if field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES) else 0


def _first_sentence(text: str) -> str:
    end = re.search(r"[.:;](\s|$)", text)
    return text if end is None else text[: end.start()] + ("." if end[0].startswith(".") else "")
