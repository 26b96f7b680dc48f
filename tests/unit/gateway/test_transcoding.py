"""Plans: JSON out and in, for every message of the contracts."""

from __future__ import annotations

import base64
from typing import Any, cast

import orjson
import pytest
from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import ErrorInfo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.enums import short_names
from chassis.errors import InvalidArgument
from chassis.transcoding.contracts import message_descriptors
from chassis.transcoding.fields import VIOLATIONS_MAX, FieldErrors
from chassis.transcoding.plans import Plans, is_cookie, to_error
from prosa.conversation.v1 import conversation_service_pb2 as conversation_pb
from prosa.crm.v1 import crm_service_pb2 as crm_pb
from prosa.identity.v1 import contact_service_pb2 as contact_pb
from prosa.ingest.v1 import ingest_service_pb2 as ingest_pb
from prosa.ingest.v1 import webhook_event_service_pb2 as events_pb
from prosa.v1 import options_pb2

PLANS = Plans()
DESCRIPTORS = {descriptor.full_name: descriptor for descriptor in message_descriptors()}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
# What JSON refuses as an id is tested on its own.
SAFE_TEXTS = TEXTS.filter(lambda text: text.strip() not in ("undefined", "null", "[object Object]"))
MOMENTS = st.builds(
    lambda seconds, micros: Timestamp(seconds=seconds, nanos=micros * 1000),
    st.integers(-62_135_596_800, 253_402_300_799),
    st.integers(0, 999_999),
)
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_STRING: SAFE_TEXTS,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=20),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.TYPE_DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
}


def values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    """Draws one value of a field."""
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if field.message_type is None:
        return SCALARS[field.type]
    if field.message_type.full_name == "google.protobuf.Timestamp":
        return MOMENTS
    return messages(field.message_type, depth + 1)


@st.composite
def messages(draw: st.DrawFn, descriptor: Descriptor, depth: int = 0) -> Message:
    """Draws a message with any of its fields set."""
    chosen: dict[str, Any] = {}
    taken: set[str] = set()
    for field in descriptor.fields:
        # Any holds packed messages, which protobuf's own mapping unpacks and this one does not.
        if not draw(st.booleans()) or depth > 3 or field.full_name == "google.rpc.Status.details":
            continue
        if is_cookie(field):
            # Not of JSON at all.
            continue
        if field.containing_oneof is not None:
            if field.containing_oneof.name in taken:
                continue
            taken.add(field.containing_oneof.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            entry = field.message_type.fields_by_name
            pairs = st.dictionaries(values(entry["key"], depth), values(entry["value"], depth), max_size=3)
            chosen[field.name] = draw(pairs)
        elif field.is_repeated:
            chosen[field.name] = draw(st.lists(values(field, depth), max_size=3))
        else:
            chosen[field.name] = draw(values(field, depth))
    return GetMessageClass(descriptor)(**chosen)


def as_protobuf_json(descriptor: Descriptor, data: dict[str, Any]) -> dict[str, Any]:
    """Brings our JSON into protobuf's own mapping, where the two differ on purpose."""
    found: dict[str, Any] = {}
    for field in descriptor.fields:
        if field.name not in data or (data[field.name] is None):
            continue
        value = data[field.name]
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            found[field.name] = value
        elif field.is_repeated:
            found[field.name] = [_protobuf_value(field, item) for item in value]
        else:
            found[field.name] = _protobuf_value(field, value)
    return found


def _protobuf_value(field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type is not None:
        numbers = {name: number for number, name in short_names(field.enum_type).items()}
        return field.enum_type.values_by_number[numbers[value]].name
    if field.type in (FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64):
        return str(value)
    if field.message_type is None or field.message_type.full_name == "google.protobuf.Timestamp":
        return value
    return as_protobuf_json(field.message_type, value)


@pytest.mark.parametrize("name", sorted(DESCRIPTORS))
@given(data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
def test_every_message_survives_the_way_out_and_in_and_means_the_same_to_protobuf(
    name: str, data: st.DataObject
) -> None:
    """One drawing for both: to make the messages is most of the work."""
    plan = PLANS.of(DESCRIPTORS[name])
    message = data.draw(messages(DESCRIPTORS[name]))
    ours = orjson.loads(plan.to_json(message))
    assert plan.decode(ours) == message
    theirs = as_protobuf_json(DESCRIPTORS[name], ours)
    assert json_format.ParseDict(theirs, plan.message_class()) == message


def encode(message: Message) -> dict[str, Any]:
    """Answers the JSON of a message, read back."""
    read: dict[str, Any] = orjson.loads(PLANS.of(cast("Descriptor", message.DESCRIPTOR)).to_json(message))
    return read


def decode(descriptor: Descriptor, data: object) -> Any:
    """Reads JSON, or raises what a caller is told."""
    try:
        return PLANS.of(descriptor).decode(data)
    except FieldErrors as error:
        raise to_error(error) from None


def test_enum_values_are_told_without_their_prefix_and_read_with_or_without() -> None:
    assert encode(contact_pb.ContactIdentity(source=options_pb2.SOURCE_INSTAGRAM))["source"] == "INSTAGRAM"
    assert encode(contact_pb.ContactIdentity())["source"] == "UNSPECIFIED"
    for name in ("INSTAGRAM", "SOURCE_INSTAGRAM"):
        request = decode(contact_pb.ResolveContactRequest.DESCRIPTOR, {"source": name})
        assert request.source == options_pb2.SOURCE_INSTAGRAM
    for refused in ("instagram", 2, True, "TELEGRAM"):
        with pytest.raises(InvalidArgument, match="must be one of WHATSAPP, INSTAGRAM"):
            decode(contact_pb.ResolveContactRequest.DESCRIPTOR, {"source": refused})


def test_an_enum_value_this_gateway_does_not_know_is_told_by_its_number() -> None:
    newer = contact_pb.ContactIdentity.FromString(bytes([4 << 3, 77]))
    assert encode(newer)["source"] == 77


def test_large_integers_are_numbers_and_are_read_from_texts_too() -> None:
    assert encode(options_pb2.Money(minor_units=2**62))["minor_units"] == 2**62
    for value in (12900, "12900", " 12900 ", 12900.0):
        assert decode(options_pb2.Money.DESCRIPTOR, {"minor_units": value}).minor_units == 12900
    refusals: list[object] = [12.5, "12.5", "1e3", 2**63, str(2**63), True, [], "٣"]
    for refused in refusals:
        with pytest.raises(InvalidArgument, match="must be a whole number from"):
            decode(options_pb2.Money.DESCRIPTOR, {"minor_units": refused})


@pytest.mark.parametrize(
    ("text", "seconds", "nanos"),
    [
        ("1970-01-01T00:00:01Z", 1, 0),
        ("1970-01-01T00:00:01.5Z", 1, 500_000_000),
        ("1969-12-31T21:00:01-03:00", 1, 0),
        ("1970-01-01T00:00:01.123456789Z", 1, 123_456_000),
        (" 1970-01-01 00:00:01+00:00 ", 1, 0),
    ],
)
def test_a_time_is_read_with_any_offset_to_the_microsecond(text: str, seconds: int, nanos: int) -> None:
    message = decode(contact_pb.Contact.DESCRIPTOR, {"create_time": text})
    assert message.create_time == Timestamp(seconds=seconds, nanos=nanos)


@pytest.mark.parametrize(
    "value", ["2026-11-22", "2026-11-22T10:00:00", "yesterday", 1, "9999-12-31T23:59:59-23:59", {}]
)
def test_a_time_without_offset_or_sense_is_refused_with_an_example(value: object) -> None:
    with pytest.raises(InvalidArgument, match="2026-11-22T14:30:00Z") as refused:
        decode(contact_pb.Contact.DESCRIPTOR, {"create_time": value})
    assert (refused.value.reason, refused.value.violations[0].field) == ("FIELD_INVALID", "create_time")


def test_times_are_told_in_utc_and_to_the_microsecond() -> None:
    message = contact_pb.Contact(create_time=Timestamp(seconds=1, nanos=5_000))
    message.update_time.GetCurrentTime()
    message.update_time.nanos = 0
    assert encode(message)["create_time"] == "1970-01-01T00:00:01.000005Z"
    assert encode(message)["update_time"].endswith("Z")
    assert "." not in encode(message)["update_time"]


def test_empty_fields_are_present_and_unset_messages_are_null() -> None:
    assert encode(crm_pb.Deal()) == {
        "deal_id": "",
        "organization_id": "",
        "contact_id": "",
        "board_id": "",
        "stage_id": "",
        "title": "",
        "value": None,
        "state": "UNSPECIFIED",
        "create_time": None,
        "update_time": None,
        "etag": "",
        "stage_label": "",
        "stage_change_time": None,
        "close_time": None,
        "loss_reason": "",
        "ai_summary": "",
    }


def test_of_a_oneof_only_the_set_member_is_told() -> None:
    result = contact_pb.ResolveResult(contact=contact_pb.ResolvedContact(contact_id="c"))
    assert list(encode(result)) == ["contact"]
    assert encode(contact_pb.ResolveResult()) == {}
    with pytest.raises(InvalidArgument, match="together with contact"):
        decode(contact_pb.ResolveResult.DESCRIPTOR, {"contact": {}, "error": {}})


def test_bytes_are_base64_of_either_alphabet_with_or_without_padding() -> None:
    raw = bytes([251, 255, 190, 1])
    assert encode(events_pb.WebhookEvent(body=raw))["body"] == base64.b64encode(raw).decode()
    for text in ("+/++AQ==", "-_--AQ==", "-_--AQ"):
        assert decode(events_pb.WebhookEvent.DESCRIPTOR, {"body": text}).body == raw
    with pytest.raises(InvalidArgument, match="base64"):
        decode(events_pb.WebhookEvent.DESCRIPTOR, {"body": "ol\u00e1!"})


def test_maps_are_objects() -> None:
    webhook = ingest_pb.Webhook(headers={"a": "1"})
    assert encode(webhook)["headers"] == {"a": "1"}
    assert decode(ingest_pb.Webhook.DESCRIPTOR, {"headers": {"a": "1"}}).headers == {"a": "1"}
    with pytest.raises(InvalidArgument) as refused:
        decode(ingest_pb.Webhook.DESCRIPTOR, {"headers": {"a": 1}})
    assert refused.value.violations[0].field == 'headers["a"]'


@pytest.mark.parametrize(
    ("descriptor", "blank"),
    [
        (events_pb.ListWebhookEventsRequest.DESCRIPTOR, {"page_size": "", "state": " ", "start_time": ""}),
        (contact_pb.CreateContactRequest.DESCRIPTOR, {"tags": "", "source": "", "phone": None}),
        (crm_pb.CreateDealRequest.DESCRIPTOR, {"value": ""}),
        (events_pb.ReplayWebhookEventsRequest.DESCRIPTOR, {"dry_run": ""}),
    ],
)
def test_blank_texts_count_as_absent(descriptor: Descriptor, blank: dict[str, object]) -> None:
    assert decode(descriptor, blank) == GetMessageClass(descriptor)()


@pytest.mark.parametrize("text", ["undefined", "null", " undefined ", "[object Object]"])
@pytest.mark.parametrize("name", ["contact_id", "external_id"])
def test_texts_that_stand_for_a_missing_value_are_no_ids(name: str, text: str) -> None:
    descriptor = contact_pb.CreateContactIdentityRequest.DESCRIPTOR
    with pytest.raises(InvalidArgument) as refused:
        decode(descriptor, {name: text})
    assert (refused.value.reason, refused.value.violations[0].field) == ("FIELD_INVALID", name)


def test_a_name_may_well_be_null() -> None:
    assert decode(contact_pb.CreateContactRequest.DESCRIPTOR, {"name": "null"}).name == "null"


def test_all_wrong_fields_are_told_at_once_with_their_paths() -> None:
    body = {"items": [{"message": {"text": 1}}, {"conversation": {"labels": ["a", None]}}, 7]}
    with pytest.raises(InvalidArgument) as refused:
        decode(conversation_pb.BatchRecordMessagesRequest.DESCRIPTOR, body)
    fields = [violation.field for violation in refused.value.violations]
    assert fields == ["items[0].message.text", "items[1].conversation.labels[1]", "items[2]"]


def test_a_body_of_nonsense_is_refused_with_a_bounded_answer() -> None:
    with pytest.raises(InvalidArgument) as refused:
        decode(contact_pb.Contact.DESCRIPTOR, {f"x{index}": 1 for index in range(10_000)})
    assert refused.value.reason == "FIELD_UNKNOWN"
    assert len(refused.value.violations) == VIOLATIONS_MAX
    with pytest.raises(InvalidArgument) as many:
        decode(contact_pb.CreateContactRequest.DESCRIPTOR, {"tags": [1] * 10_000})
    assert len(many.value.violations) == VIOLATIONS_MAX


def test_a_status_is_told_with_its_details_packed() -> None:
    packed = AnyMessage()
    packed.Pack(ErrorInfo(reason="X"))
    result = contact_pb.ResolveResult()
    result.error.code = 5
    result.error.details.append(packed)
    assert encode(result)["error"]["details"][0]["type_url"] == "type.googleapis.com/google.rpc.ErrorInfo"


def test_a_type_without_a_json_form_fails_when_the_process_starts() -> None:
    with pytest.raises(NotImplementedError):
        Plans().of(Duration.DESCRIPTOR)
