"""Enums of the contracts and their short names."""

from __future__ import annotations

from typing import cast

import pytest

from chassis.enums import enum_number, enum_text, short_names, wanted_text
from chassis.errors import InvalidArgument
from prosa.conversation.v1 import conversation_service_pb2 as pb
from prosa.v1 import options_pb2


def test_a_value_and_its_short_name_lead_to_each_other() -> None:
    assert enum_text(options_pb2.SendClass, options_pb2.SEND_CLASS_PERSON) == "PERSON"
    assert enum_number(options_pb2.SendClass, "PERSON") == options_pb2.SEND_CLASS_PERSON
    for number, text in short_names(pb.MessageState.DESCRIPTOR).items():
        assert pb.MessageState.Name(enum_number(pb.MessageState, text)) == f"MESSAGE_STATE_{text}"
        assert enum_number(pb.MessageState, text) == number


def test_what_the_contract_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="MessageState has no value 99"):
        enum_text(pb.MessageState, cast("pb.MessageState.ValueType", 99))
    with pytest.raises(ValueError, match="FLOWN"):
        enum_number(pb.MessageState, "FLOWN")


def test_a_list_is_filtered_by_what_is_known_or_by_nothing() -> None:
    assert wanted_text(options_pb2.Source, options_pb2.SOURCE_UNSPECIFIED) is None
    assert wanted_text(options_pb2.Source, options_pb2.SOURCE_INSTAGRAM) == "INSTAGRAM"
    with pytest.raises(InvalidArgument, match="It must be one of WHATSAPP or INSTAGRAM") as refused:
        wanted_text(options_pb2.Source, cast("options_pb2.Source.ValueType", 9))
    assert refused.value.reason == "STATE_UNKNOWN"
