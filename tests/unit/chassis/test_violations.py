"""What a caller reads of a request that breaks rules of its contract."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from buf.validate import validate_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from chassis.errors import FieldViolation
from chassis.violations import _WORDS, broken_rules, counted, sentence
from prosa.crm.v1 import crm_service_pb2 as crm
from prosa.identity.v1 import access_service_pb2 as access
from prosa.ingest.v1 import connection_service_pb2 as connections
from prosa.ingest.v1 import ingest_service_pb2 as ingest
from prosa.v1.options_pb2 import SOURCE_WHATSAPP

UNKNOWN: Any = 9
UUID = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (ingest.EnsureContactRequest(source=SOURCE_WHATSAPP), "external_id must not be empty."),
        (ingest.EnsureContactRequest(external_id="1"), "source must be WHATSAPP or INSTAGRAM."),
        (ingest.EnsureContactRequest(external_id="1", source=UNKNOWN), "source must be WHATSAPP or INSTAGRAM."),
        (ingest.EnsureContactRequest(), "source must be WHATSAPP or INSTAGRAM; external_id must not be empty."),
        (
            access.CreateOrganizationRequest(name="Ana", admin_email="ana"),
            "admin_email must be an e-mail address such as ana@example.com.",
        ),
        (
            access.CreateOrganizationRequest(name="n" * 201, admin_email="ana@example.com"),
            "name must have at most 200 characters.",
        ),
        (
            connections.AddWebhookSecretRequest(connection_id=UUID, webhook_secret="short"),
            "webhook_secret must have at least 8 characters.",
        ),
        (crm.BatchEnsureDealsRequest(), "deals must not be empty."),
        (crm.CreateDealRequest(title="Aula"), f"contact_id must be a UUID such as {UUID}."),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Message) else "",
)
def test_a_broken_rule_says_what_to_send_instead(request_: Message, told: str) -> None:
    assert sentence(broken_rules(request_)) == told


def test_a_sound_request_breaks_nothing() -> None:
    assert broken_rules(ingest.EnsureContactRequest(source=SOURCE_WHATSAPP, external_id="+5511900001234")) == []


def test_a_sentence_names_a_few_fields_and_counts_the_others() -> None:
    violations = [FieldViolation(name, "must not be empty") for name in "abcde"]
    assert sentence(violations[:1]) == "a must not be empty."
    told = "a must not be empty; b must not be empty; c must not be empty; and "
    assert sentence(violations[:4]) == f"{told}1 more field."
    assert sentence(violations) == f"{told}2 more fields."


def test_one_is_singular() -> None:
    assert [counted(count, "item") for count in (0, 1, 2)] == ["0 items", "1 item", "2 items"]


def rules() -> Iterator[tuple[str, str]]:
    """Every rule of every contract with the field that has it."""
    pool = descriptor_pool.Default()
    for module in (crm, access, connections, ingest):
        for message in pool.FindFileByName(module.DESCRIPTOR.name).message_types_by_name.values():
            for field in message.fields:
                yield from ((rule, field.full_name) for rule in rules_of(field))


def rules_of(field: FieldDescriptor) -> Iterator[str]:
    """The rules of one field as they are called when they are broken."""
    options = field.GetOptions()
    if not options.HasExtension(validate_pb2.field):
        return
    declared = options.Extensions[validate_pb2.field]
    if declared.required:
        yield "required"
    kind = declared.WhichOneof("type")
    if kind is not None:
        for rule, _ in getattr(declared, kind).ListFields():
            yield f"{kind}.{rule.name}"


def test_every_rule_that_a_contract_has_is_put_in_words() -> None:
    unspoken = {
        f"{rule} of {field}"
        for rule, field in rules()
        if rule not in _WORDS and not re.fullmatch(r"enum\.(defined_only|not_in)|repeated\.items", rule)
    }
    assert unspoken == set()
