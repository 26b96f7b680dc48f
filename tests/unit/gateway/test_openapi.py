"""The OpenAPI document and the page, made from the contracts."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import orjson
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from chassis.transcoding.fields import EXAMPLE_ID
from chassis.transcoding.plans import Plans
from chassis.violations import broken_rules
from gateway.openapi import document, page
from gateway.openapi.comments import DeclaredError, comments, split_errors
from gateway.openapi.operations import curl_example, example_message, operations, path_name, request_example
from gateway.transcoding.bindings import bindings

OPERATIONS = operations(bindings(Plans()))


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    """The document as a program reads it."""
    read: dict[str, Any] = orjson.loads(orjson.dumps(document.build(OPERATIONS)))
    return read


def test_the_document_is_valid_openapi(openapi: dict[str, Any]) -> None:
    assert [str(error) for error in OpenAPIV31SpecValidator(openapi).iter_errors()] == []


def test_every_binding_is_in_the_document_with_summary_and_permission(openapi: dict[str, Any]) -> None:
    for operation in OPERATIONS:
        found = openapi["paths"][operation.binding.template][operation.binding.http_method.lower()]
        assert found["summary"] != operation.binding.rpc.name, "the contract says nothing of it"
        assert operation.permission in found["description"]
    ids = [item["operationId"] for path in openapi["paths"].values() for item in path.values()]
    assert len(ids) == len(set(ids))


def test_an_operation_is_called_as_its_rpc_and_one_of_several_paths_by_what_the_path_says() -> None:
    ids = {f"{item.binding.http_method} {item.binding.template}": item.operation_id for item in OPERATIONS}
    assert ids["GET /api/v1/connections"] == "ListConnections"
    assert ids["POST /api/v1/webhook-events:replay"] == "ReplayWebhookEvents"
    assert ids["GET /api/v1/connections/{connection_id}/channels"] == "ListConnectionChannels"
    assert ids["GET /api/v1/channels"] == "ListChannels"
    assert ids["GET /api/v1/contacts/{contact_id}/identities"] == "ListContactIdentities"
    assert ids["GET /api/v1/identities"] == "ListIdentities"
    assert [name for name in ids.values() if not name.isalpha()] == []


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("/api/v1/companies/{company_id}/webhook-events", "ListCompanyWebhookEvents"),
        ("/api/v1/boards/{board}/stages/{stage_id}", "ListBoardStage"),
        ("/api/v1/channels:search", "ListChannels"),
    ],
)
def test_a_path_s_name_holds_one_of_each_thing_that_it_leads_through(template: str, name: str) -> None:
    listing = next(item.binding for item in OPERATIONS if item.binding.rpc.name == "ListChannels")
    assert path_name(replace(listing, template=template)) == name


def test_the_routes_written_by_hand_are_in_the_document(openapi: dict[str, Any]) -> None:
    for path in (
        "/webhooks/chatwoot/{connection_key}",
        "/api/v1/stream",
        "/healthz",
        "/readyz",
        "/api/chatwoot/webhook",
    ):
        assert path in openapi["paths"]


def test_rules_and_comments_of_the_contracts_become_keywords(openapi: dict[str, Any]) -> None:
    schema = openapi["components"]["schemas"]["identity.CreateContactRequest"]
    assert schema["properties"]["name"]["minLength"] == 1
    assert schema["properties"]["name"]["maxLength"] == 1024
    assert schema["properties"]["tags"]["maxItems"] == 100
    assert schema["properties"]["phone"]["description"] == "National or international form; kept as E.164."
    assert schema["required"] == ["name"]
    assert schema["additionalProperties"] is False
    deal = openapi["components"]["schemas"]["crm.CreateDealRequest"]
    assert deal["properties"]["contact_id"]["format"] == "uuid"
    assert openapi["components"]["schemas"]["Source"]["enum"] == ["UNSPECIFIED", "WHATSAPP", "INSTAGRAM"]


def test_errors_that_an_rpc_declares_are_among_its_responses(openapi: dict[str, Any]) -> None:
    responses = openapi["paths"]["/api/v1/contacts/{contact_id}"]["get"]["responses"]
    assert "CONTACT_NOT_FOUND" in responses["404"]["description"]
    assert "application/problem+json" in responses["404"]["content"]


def test_fields_of_the_path_are_not_asked_for_in_the_body_again(openapi: dict[str, Any]) -> None:
    add = openapi["paths"]["/api/v1/connections/{connection_id}:addSecret"]["post"]
    body = add["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) == {"webhook_secret", "only", "request_id"}
    assert {parameter["name"] for parameter in add["parameters"]} == {"connection_id", "Idempotency-Key"}


def test_an_update_asks_for_nothing_and_takes_null_for_what_stays(openapi: dict[str, Any]) -> None:
    update = openapi["paths"]["/api/v1/connections/{connection_id}/channels/{channel_id}"]["patch"]
    body = update["requestBody"]["content"]["application/json"]["schema"]
    assert "required" not in body
    assert body["properties"]["name"] == {
        "type": ["string", "null"],
        "minLength": 1,
        "maxLength": 200,
        "examples": ["Ana"],
    }
    assert body["properties"]["inbox_id"]["type"] == ["integer", "null"]
    assert body["properties"]["source"]["anyOf"][1] == {"type": "null"}
    assert body["properties"]["etag"]["type"] == "string"


def test_anyone_may_get_a_token_and_nothing_else_without_one(openapi: dict[str, Any]) -> None:
    assert openapi["paths"]["/api/v1/token"]["post"]["security"] == []
    assert "security" not in openapi["paths"]["/api/v1/contacts"]["get"]
    assert openapi["security"] == [{"bearer": []}, {"api_key": []}, {"session": []}]


def test_a_token_may_be_asked_for_by_the_form_of_oauth_and_is_refused_in_its_words(openapi: dict[str, Any]) -> None:
    token = openapi["paths"]["/api/v1/token"]["post"]
    form = token["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
    assert form["required"] == ["grant_type"]
    assert set(token["requestBody"]["content"]) == {"application/json", "application/x-www-form-urlencoded"}
    for status in ("400", "401"):
        assert set(token["responses"][status]["content"]) == {"application/json", "application/problem+json"}
    flows = openapi["components"]["securitySchemes"]["oauth2"]["flows"]
    assert flows == {"clientCredentials": {"tokenUrl": "/api/v1/token", "scopes": {}}}


def test_the_errors_of_a_comment_are_taken_apart() -> None:
    text = "Does it. Errors: NOT_FOUND BOARD_NOT_FOUND, STAGE_NOT_FOUND; ABORTED ETAG_STALE."
    assert split_errors(text) == (
        "Does it.",
        [
            DeclaredError("NOT_FOUND", "BOARD_NOT_FOUND"),
            DeclaredError("NOT_FOUND", "STAGE_NOT_FOUND"),
            DeclaredError("ABORTED", "ETAG_STALE"),
        ],
    )
    assert split_errors("Plain.") == ("Plain.", [])


def test_every_bound_rpc_is_described_in_its_contract() -> None:
    assert [item.operation_id for item in OPERATIONS if item.binding.rpc.full_name not in comments()] == []


class Outline(HTMLParser):
    """What a page holds: its ids, its links, and what it would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if found.get("id"):
            self.ids.append(str(found["id"]))
        if tag == "a":
            self.links.append(str(found["href"]))
        if tag in ("script", "link", "img", "iframe"):
            self.fetched.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_shows_every_operation_and_fetches_nothing() -> None:
    html = page.render(OPERATIONS, "body{}")
    outline = Outline()
    outline.feed(html)
    assert outline.open == []
    assert outline.fetched == []
    assert len(outline.ids) == len(set(outline.ids))
    assert {item.operation_id for item in OPERATIONS} <= set(outline.ids)
    assert {link[1:] for link in outline.links if link.startswith("#")} <= set(outline.ids)
    assert {link for link in outline.links if not link.startswith("#")} == {"/", "/api/openapi.json"}


def test_the_page_has_a_command_to_copy_for_every_operation() -> None:
    html = page.render(OPERATIONS, "")
    assert len(re.findall(r"<pre><code>curl ", html)) >= len(OPERATIONS)
    assert "X-Api-Key: $PROSA_API_KEY" in html


@pytest.mark.case("O12")
def test_the_page_begins_with_a_key_and_the_call_that_is_made_first() -> None:
    text = page.render(OPERATIONS, "")
    start = text[text.index('id="start"') : text.index('class="group" id="contact"')]
    assert text.index('id="start"') < text.index('class="operation"'), "before the first operation"
    assert "prosa api-key create" in start
    assert "/api/v1/contacts:ensure" in start
    assert text.index('href="#start"') < text.index('href="#CreateContact"')


@pytest.mark.case("O12")
def test_every_type_that_a_request_or_an_answer_holds_is_shown() -> None:
    text = page.render(OPERATIONS, "")
    for name in ("conversation.inbox_id", "stages[].label", "value.minor_units"):
        assert f"<code>{name}</code>" in text, name
    for anchor in re.findall(r'href="#(type-[^"]+)"', text):
        assert f'id="{anchor}"' in text, anchor
    assert 'id="type-crm.Stage"' in text


@pytest.mark.case("O12")
def test_examples_are_bodies_that_the_contract_takes_sent_with_what_may_send_them() -> None:
    plans = Plans()
    for operation in OPERATIONS:
        shown = curl_example(operation)
        assert ("X-Api-Key" in shown) == bool(operation.scope), operation.operation_id
        assert ("$PROSA_TOKEN" in shown) == (not operation.scope and not operation.anonymous), operation.operation_id
        if operation.binding.body:
            named = dict.fromkeys(operation.binding.path_fields, EXAMPLE_ID)
            request = plans.of(operation.binding.rpc.input_type).decode(request_example(operation) | named)
            assert broken_rules(request) == [], operation.operation_id


@pytest.mark.case("O12")
def test_an_example_of_an_answer_is_not_a_list_of_blanks() -> None:
    ensured = next(item for item in OPERATIONS if item.operation_id == "EnsureContact")
    shown = example_message(ensured.binding.rpc.output_type)
    assert shown["outcome"] == "matched"
    for operation in OPERATIONS:
        example = example_message(operation.binding.rpc.output_type)
        filled = [value for value in example.values() if value not in ("", None, [], {}, 0)]
        assert filled or not example, operation.operation_id
