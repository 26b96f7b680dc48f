"""Bindings: from one HTTP method and path, as the contract declares it, to one RPC and its request message."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.api import annotations_pb2
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from multidict import MultiMapping

from chassis.errors import FieldViolation, InvalidArgument
from chassis.json_reading import JsonMalformed, read_json
from chassis.transcoding import fields
from chassis.transcoding.contracts import services
from chassis.transcoding.fields import FieldError, FieldErrors
from chassis.transcoding.plans import Plan, Plans, is_cookie, to_error
from gateway.limits import IDEMPOTENCY_KEY_LENGTH_MAX, QUERY_FIELDS_MAX

IDEMPOTENCY_NAMESPACE = uuid.UUID("6f1f2a52-6a0b-5b5e-9a55-2a3c3d1d7d0e")
"""Of the UUIDv5 that an Idempotency-Key becomes. Never change it: a retry across the change would act twice."""

REQUEST_ID = "request_id"
_VARIABLE = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_.]*)\}")
_METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Binding:
    """One way to reach an RPC over HTTP."""

    rpc: MethodDescriptor
    http_method: str
    # As the contract writes it: "/api/v1/contacts/{contact_id}".
    template: str
    # "*", the name of the field that the body is, or "" where there is no body.
    body: str
    path_fields: tuple[str, ...]
    request_plan: Plan
    response_plan: Plan

    @property
    def rpc_path(self) -> str:
        """The RPC's path on the wire: "/prosa.identity.v1.ContactService/GetContact"."""
        return f"/{self.rpc.containing_service.full_name}/{self.rpc.name}"

    @property
    def query_fields(self) -> tuple[FieldDescriptor, ...]:
        """The fields that the query may fill; none where the body is the whole message."""
        if self.body == "*":
            return ()
        taken = {path.partition(".")[0] for path in self.path_fields} | {self.body}
        return tuple(field for field in self.rpc.input_type.fields if field.name not in taken and not is_cookie(field))

    @property
    def cookie_in(self) -> str:
        """The field of the request that the session's cookie fills; empty where none does."""
        return next((field.name for field in self.rpc.input_type.fields if is_cookie(field)), "")

    @property
    def cookie_out(self) -> tuple[str, ...]:
        """Where the answer holds the cookie to be set: the path of the field, of two names at most; else nothing."""
        for field in self.rpc.output_type.fields:
            if is_cookie(field):
                return (field.name,)
            if field.message_type is not None and not field.is_repeated:
                for inner in field.message_type.fields:
                    if is_cookie(inner):
                        return (field.name, inner.name)
        return ()

    def read(
        self,
        path_values: Mapping[str, str],
        query: MultiMapping[str],
        raw_body: bytes,
        idempotency_key: str | None,
    ) -> Message:
        """Builds the request message. Raises InvalidArgument: JSON_MALFORMED, FIELD_UNKNOWN or FIELD_INVALID."""
        try:
            data = self._body(raw_body)
            self._add_query(data, query)
            self._add_path(data, path_values)
            if idempotency_key and self.request_plan.has(REQUEST_ID) and not data.get(REQUEST_ID):
                data[REQUEST_ID] = to_request_id(idempotency_key)
            message: Message = self.request_plan.decode(data)
        except FieldErrors as error:
            raise to_error(error) from None
        except RecursionError:
            raise InvalidArgument("JSON_MALFORMED", "The body is nested too deeply.") from None
        return message

    def _body(self, raw_body: bytes) -> dict[str, Any]:
        if not self.body:
            if raw_body.strip():
                raise InvalidArgument("BODY_UNEXPECTED", f"{self.http_method} takes no body here; use the query.")
            return {}
        data = parse_json(raw_body)
        if self.body != "*":
            return {} if data is None else {self.body: data}
        if data is None:
            return {}
        if not isinstance(data, dict):
            raise fields.invalid(f"must be a JSON object; got {fields.kind(data)}")
        return data

    def _add_query(self, data: dict[str, Any], query: MultiMapping[str]) -> None:
        if not query:
            return
        if self.body == "*":
            name = next(iter(query.keys()))
            raise FieldErrors([FieldError(name[:100], "belongs into the body, not into the query", unknown=True)])
        if len(query) > QUERY_FIELDS_MAX:
            raise fields.invalid(f"the query holds more than {QUERY_FIELDS_MAX} fields")
        for name in dict.fromkeys(query.keys()):
            self._place(data, name, query.getall(name))

    def _add_path(self, data: dict[str, Any], path_values: Mapping[str, str]) -> None:
        for index, path in enumerate(self.path_fields):
            value = path_values[f"v{index}"]
            holder, field = self._holder(data, path)
            said = holder.get(field.name)
            if said not in (None, "", value):
                raise FieldErrors(
                    [FieldError(path, f'is "{value}" in the path and something else in the body or query')]
                )
            holder[field.name] = value

    def _place(self, data: dict[str, Any], path: str, values: list[str]) -> None:
        holder, field = self._holder(data, path)
        if field.is_repeated and not (field.message_type and field.message_type.GetOptions().map_entry):
            holder[field.name] = [value for value in values if value]
        elif len(values) > 1:
            raise FieldErrors([FieldError(path[:100], "is given more than once")])
        else:
            holder[field.name] = values[0]

    def _holder(self, data: dict[str, Any], path: str) -> tuple[dict[str, Any], FieldDescriptor]:
        """Answers the object that the last part of a dotted path lies in, and its field."""
        descriptor = self.rpc.input_type
        *parents, last = path.split(".")
        for name in parents:
            parent = descriptor.fields_by_name.get(name)
            if parent is None or parent.message_type is None or parent.is_repeated:
                raise FieldErrors([FieldError(path[:100], "is not a field of this request", unknown=True)])
            data = data.setdefault(name, {})
            descriptor = parent.message_type
            if not isinstance(data, dict):
                raise FieldErrors([FieldError(path[:100], "is given more than once")])
        field = descriptor.fields_by_name.get(last)
        if field is None or is_cookie(field):
            known = ", ".join(field.name for field in descriptor.fields if not is_cookie(field)) or "none"
            raise FieldErrors([FieldError(path[:100], f"is not a field here; the fields are {known}", unknown=True)])
        return data, field


def to_request_id(idempotency_key: str) -> str:
    """Answers the request_id that an Idempotency-Key, any text, stands for; the same text gives the same id."""
    if len(idempotency_key) > IDEMPOTENCY_KEY_LENGTH_MAX:
        advice = f"must have at most {IDEMPOTENCY_KEY_LENGTH_MAX} characters"
        raise InvalidArgument(
            "IDEMPOTENCY_KEY_INVALID",
            f"Idempotency-Key {advice}.",
            violations=[FieldViolation("Idempotency-Key", advice)],
        )
    # Header bytes that are no UTF-8 come as surrogates; replaced, they still give one id per text.
    text = idempotency_key.encode("utf-8", "replace").decode()
    return str(uuid.uuid5(IDEMPOTENCY_NAMESPACE, text))


def parse_json(raw: bytes) -> Any:
    """Reads a JSON body, None where it is empty. Raises InvalidArgument JSON_MALFORMED with the place."""
    if not raw or raw.isspace():
        return None
    try:
        return read_json(raw)
    except JsonMalformed as error:
        raise InvalidArgument(
            "JSON_MALFORMED",
            f"The body is no JSON: {error.message} at line {error.line}, column {error.column}.",
            line=str(error.line),
            column=str(error.column),
        ) from None


def bindings(plans: Plans) -> tuple[Binding, ...]:
    """Reads every HTTP binding of every service of the services, in the order of the contracts."""
    return tuple(
        binding
        for service in services()
        for method in service.methods
        for rule in _rules(method)
        for binding in (_bind(method, rule, plans),)
    )


def route_path(template: str) -> str:
    """Answers a path template as aiohttp writes it; variables become v0, v1, … and stop at "/" and ":"."""
    count = iter(range(100))
    return _VARIABLE.sub(lambda _: f"{{v{next(count)}:[^/:]+}}", template)


def _rules(method: MethodDescriptor) -> Iterator[HttpRule]:
    options = method.GetOptions()
    if options.HasExtension(annotations_pb2.http):
        rule = options.Extensions[annotations_pb2.http]
        yield rule
        yield from rule.additional_bindings


def _bind(method: MethodDescriptor, rule: HttpRule, plans: Plans) -> Binding:
    pattern = rule.WhichOneof("pattern")
    if pattern not in _METHODS or method.client_streaming or method.server_streaming or rule.response_body:
        raise NotImplementedError(f"{method.full_name}: this kind of HTTP binding is not served")
    template: str = getattr(rule, pattern)
    if "*" in template or _VARIABLE.sub("", template).count("{"):
        raise NotImplementedError(f"{method.full_name}: {template} has a pattern that is not served")
    binding = Binding(
        rpc=method,
        http_method=pattern.upper(),
        template=template,
        body=rule.body,
        path_fields=tuple(_VARIABLE.findall(template)),
        request_plan=plans.of(method.input_type),
        response_plan=plans.of(method.output_type),
    )
    for path in binding.path_fields:
        if "." in path or path not in method.input_type.fields_by_name:
            raise NotImplementedError(f"{method.full_name}: {path} is not a field of its request")
    return binding
