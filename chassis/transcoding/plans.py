"""Plans: for each message type, compiled once, how it becomes JSON and how JSON becomes it.

The JSON differs from protobuf's own mapping on purpose: field names as in the contract, enum values without their
prefix, 64-bit integers as numbers, and empty fields present ("", 0, [], false; null for a message that is not set;
of a oneof only the member that is set). Any stays type_url and value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

import orjson
import structlog
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from chassis.errors import FieldViolation, InvalidArgument
from chassis.transcoding import fields
from chassis.transcoding.contracts import message_descriptor
from chassis.transcoding.fields import VIOLATIONS_MAX, FieldError, FieldErrors, Read, Write
from prosa.v1 import options_pb2

log = structlog.get_logger("chassis.transcoding")

FEED_EVENT = "prosa.ingest.v1.FeedEvent"
FACT_MEMBER = "data"
_JSON_OPTIONS = orjson.OPT_UTC_Z
_TIMESTAMP = "google.protobuf.Timestamp"
_PLAIN_WELL_KNOWN = frozenset({_TIMESTAMP, "google.protobuf.Any"})


class Plan:
    """How one message type is written and read."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self.message_class: type[Message] = GetMessageClass(descriptor)
        self._names: tuple[str, ...] = ()
        self._get_all: Callable[[Any], Any] = _nothing
        self._written: tuple[tuple[str, Write], ...] = ()
        self._optional: tuple[tuple[str, Write | None], ...] = ()
        self._oneofs: tuple[tuple[str, tuple[str, ...]], ...] = ()
        self._readers: dict[str, Read] = {}
        self._oneof_of: dict[str, str] = {}

    def encode(self, message: Message) -> dict[str, Any]:
        """Answers the message as what orjson turns into its JSON."""
        found = dict(zip(self._names, self._get_all(message), strict=False))
        for name, write in self._written:
            found[name] = write(found[name])
        has = message.HasField
        for name, write_optional in self._optional:
            if not has(name):
                found[name] = None
            elif write_optional is not None:
                found[name] = write_optional(found[name])
        for oneof, members in self._oneofs:
            chosen = message.WhichOneof(oneof)
            for name in members:
                if name != chosen:
                    del found[name]
        return found

    def decode(self, data: object) -> Any:
        """Answers the message that a JSON object means; raises FieldErrors naming every field that is wrong."""
        if type(data) is not dict:
            raise fields.invalid(f"must be an object; got {fields.kind(data)}")
        values: dict[str, Any] = {}
        errors: list[FieldError] = []
        readers = self._readers
        for name, value in data.items():
            reader = readers.get(name)
            if reader is None:
                errors.append(self._unknown(name))
            elif value is not None:
                try:
                    found = reader(value)
                except FieldErrors as error:
                    errors += fields.prefixed(name, error)
                else:
                    if found is not None:
                        values[name] = found
            if len(errors) >= VIOLATIONS_MAX:
                break
        if errors:
            raise FieldErrors(errors)
        if self._oneof_of:
            self._check_oneofs(values)
        return self.message_class(**values)

    def to_json(self, message: Message) -> bytes:
        """Answers the message as JSON."""
        return orjson.dumps(self.encode(message), option=_JSON_OPTIONS)

    def has(self, name: str) -> bool:
        """Whether the message has a field of that name."""
        return name in self._readers

    def _read_field(self, value: object) -> Any:
        return None if fields.is_blank(value) else self.decode(value)

    def _unknown(self, name: str) -> FieldError:
        known = ", ".join(self._readers) or "none"
        return FieldError(name[:100], f"is not a field of {self.descriptor.name}; the fields are {known}", unknown=True)

    def _check_oneofs(self, values: dict[str, Any]) -> None:
        seen: dict[str, str] = {}
        for name in values:
            oneof = self._oneof_of.get(name)
            if oneof is None:
                continue
            if oneof in seen:
                raise FieldErrors([FieldError(name, f"cannot be given together with {seen[oneof]}")])
            seen[oneof] = name

    def _compile(self, plans: Plans) -> None:
        written: list[tuple[str, Write]] = []
        optional: list[tuple[str, Write | None]] = []
        shown = [field for field in self.descriptor.fields if not is_cookie(field)]
        for field in shown:
            write, read = plans.field(field)
            self._readers[field.name] = read
            if field.has_presence:
                optional.append((field.name, write))
            elif write is not None:
                written.append((field.name, write))
        for oneof in self.descriptor.oneofs:
            if not _is_synthetic(oneof.fields):
                self._oneofs += ((oneof.name, tuple(field.name for field in oneof.fields)),)
                self._oneof_of.update({field.name: oneof.name for field in oneof.fields})
        self._written, self._optional = tuple(written), tuple(optional)
        self._names = tuple(field.name for field in shown)
        self._get_all = _getter(self._names)


class FactPlan(Plan):
    """The plan of the feed's events: tells the fact as JSON too, for who calls over HTTP has no contracts at hand."""

    def __init__(self, descriptor: Descriptor, plans: Plans) -> None:
        super().__init__(descriptor)
        self._plans = plans
        # What is told beside the fields cannot be given.
        self._readers[FACT_MEMBER] = _nothing_read

    def encode(self, message: Message) -> dict[str, Any]:
        """Answers the event with its fact under "data"."""
        found = super().encode(message)
        found[FACT_MEMBER] = self._plans.fact(found["type"], message.payload)  # type: ignore[attr-defined]
        return found


class Plans:
    """The plans of all message types that were asked for, each compiled at its first use."""

    def __init__(self) -> None:
        self._by_name: dict[str, Plan] = {}

    def of(self, descriptor: Descriptor) -> Plan:
        """Answers the plan of a message type."""
        plan = self._by_name.get(descriptor.full_name)
        if plan is None:
            if descriptor.file.package == "google.protobuf" and descriptor.full_name not in _PLAIN_WELL_KNOWN:
                raise NotImplementedError(f"{descriptor.full_name} has no JSON form here yet")
            # Kept before it is compiled: a message may hold itself.
            plan = FactPlan(descriptor, self) if descriptor.full_name == FEED_EVENT else Plan(descriptor)
            self._by_name[descriptor.full_name] = plan
            plan._compile(self)  # noqa: SLF001 - the two classes are one compiler
        return plan

    def fact(self, name: str, payload: bytes) -> dict[str, Any] | None:
        """Answers a fact as JSON holds it; None of one that these contracts do not know or cannot read."""
        descriptor = message_descriptor(name)
        if descriptor is None:
            return None
        plan = self.of(descriptor)
        try:
            return plan.encode(plan.message_class.FromString(payload))
        except DecodeError:
            log.warning("a fact's payload cannot be read", type=name)
            return None

    def told(
        self, position: int, event_id: str, name: str, organization_id: str, event_time: datetime, payload: bytes
    ) -> bytes:
        """Answers a fact of the feed as all are told it who have no contracts at hand, on a stream or by a webhook.

        Of a type that these contracts do not know, the data is null.
        """
        return orjson.dumps(
            {
                "position": position,
                "event_id": event_id,
                "type": name,
                "organization_id": organization_id,
                "event_time": event_time,
                FACT_MEMBER: self.fact(name, payload),
            },
            option=_JSON_OPTIONS,
        )

    def field(self, field: FieldDescriptor) -> tuple[Write | None, Read]:
        """Answers how one field is written (None: as it is) and read."""
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            entry = field.message_type.fields_by_name
            write_value, read_value = self._value(entry["value"])
            write_key = None if entry["key"].type == FieldDescriptor.TYPE_STRING else fields.write_map_key
            read_key = fields.value_reader(entry["key"])
            return fields.map_writer(write_key, write_value), fields.map_reader(read_key, read_value)
        write, read = self._value(field)
        if field.is_repeated:
            return fields.list_writer(write), fields.list_reader(read)
        return write, read

    def _value(self, field: FieldDescriptor) -> tuple[Write | None, Read]:
        if field.message_type is None:
            return fields.value_writer(field), fields.value_reader(field)
        if field.message_type.full_name == _TIMESTAMP:
            return fields.write_timestamp, fields.read_timestamp
        plan = self.of(field.message_type)
        return plan.encode, plan._read_field  # noqa: SLF001


def is_cookie(field: FieldDescriptor) -> bool:
    """Whether a field travels in the session's cookie, and never in JSON."""
    return bool(field.GetOptions().Extensions[options_pb2.cookie])


def to_error(invalid: FieldErrors) -> InvalidArgument:
    """Turns unreadable fields into the error that tells the caller about each of them."""
    first = invalid.errors[0]
    path = first.path or "body"
    return InvalidArgument(
        "FIELD_UNKNOWN" if first.unknown else "FIELD_INVALID",
        f"{path} {first.description}.",
        violations=[FieldViolation(item.path or "body", item.description) for item in invalid.errors[:VIOLATIONS_MAX]],
    )


def _is_synthetic(members: Sequence[FieldDescriptor]) -> bool:
    # protobuf models `optional int32 x` as a oneof of one member named _x.
    oneof = members[0].containing_oneof
    return len(members) == 1 and oneof is not None and oneof.name == f"_{members[0].name}"


def _nothing_read(_: object) -> None:
    return None


def _nothing(_: object) -> tuple[()]:
    return ()


def _getter(names: tuple[str, ...]) -> Callable[[Any], Any]:
    if not names:
        return _nothing
    if len(names) == 1:
        get = attrgetter(names[0])
        return lambda message: (get(message),)
    return attrgetter(*names)
