"""Every bound RPC over HTTP: paths, bodies, queries, errors, credentials."""

from __future__ import annotations

import asyncio
import re
from io import BytesIO
from typing import Any
from uuid import uuid5

import grpc
import pytest

from chassis.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ProsaError,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from chassis.transcoding.plans import Plans
from gateway.limits import API_BODY_BYTES_MAX
from gateway.transcoding.bindings import IDEMPOTENCY_NAMESPACE, Binding, bindings
from prosa.crm.v1 import crm_service_pb2 as crm_pb
from prosa.identity.v1 import contact_service_pb2 as contact_pb
from prosa.v1 import options_pb2
from tests.integration.gateway.fake_services import EXCHANGE, ORGANIZATION, World, serve_gateway
from tests.world import PATIENCE_SECONDS

CREATE_CONTACT = "/prosa.identity.v1.ContactService/CreateContact"
GET_CONTACT = "/prosa.identity.v1.ContactService/GetContact"
LIST_CONTACTS = "/prosa.identity.v1.ContactService/ListContacts"
LIST_EVENTS = "/prosa.ingest.v1.WebhookEventService/ListWebhookEvents"
BINDINGS = bindings(Plans())


@pytest.mark.parametrize("binding", BINDINGS, ids=lambda item: f"{item.rpc.name}-{item.template}")
async def test_every_bound_rpc_is_reached_at_its_path(gateway: World, binding: Binding) -> None:
    path = re.sub(r"\{(\w+)\}", r"value-of-\1", binding.template)
    body: dict[str, str] | None = {} if binding.body else None
    gateway.fakes.answers.clear()
    # What signs somebody in or out is taken from the page's own address alone.
    own_page = {"Origin": gateway.url}
    async with gateway.http.request(binding.http_method, path, json=body, headers=own_page) as response:
        assert response.status == 200, await response.text()
        plan = binding.response_plan
        assert await response.json() == plan.encode(plan.message_class())
    (call,) = gateway.fakes.calls
    assert call.method == binding.rpc_path
    for name in binding.path_fields:
        assert getattr(call.request, name) == f"value-of-{name}"


async def test_a_body_becomes_the_request_and_the_answer_shows_empty_fields(gateway: World) -> None:
    async def create(request: contact_pb.CreateContactRequest) -> contact_pb.Contact:
        identity = contact_pb.ContactIdentity(source=options_pb2.SOURCE_INSTAGRAM, external_id=request.external_id)
        return contact_pb.Contact(contact_id="c1", name=request.name, tags=request.tags, identities=[identity])

    gateway.fakes.answers[CREATE_CONTACT] = create
    body = {"name": "Ana", "tags": ["vip"], "source": "INSTAGRAM", "external_id": "7733100045600121", "email": ""}
    async with gateway.http.post("/api/v1/contacts", json=body) as response:
        assert response.status == 200
        answer = await response.json()
    assert gateway.fakes.called(CREATE_CONTACT)[0].request.source == options_pb2.SOURCE_INSTAGRAM
    assert answer == {
        "contact_id": "c1",
        "organization_id": "",
        "name": "Ana",
        "phone": "",
        "email": "",
        "tags": ["vip"],
        "create_time": None,
        "update_time": None,
        "etag": "",
        "identities": [
            {
                "contact_identity_id": "",
                "organization_id": "",
                "contact_id": "",
                "source": "INSTAGRAM",
                "external_id": "7733100045600121",
                "conversation_key": "",
                "address": "",
                "create_time": None,
                "username": "",
            }
        ],
        "merged_contact_ids": [],
    }


async def test_a_query_fills_scalars_enums_times_and_numbers(gateway: World) -> None:
    query = {"page_size": "20", "state": "DEAD_LETTER", "start_time": "2026-11-22T09:00:00-03:00", "reason": "no id"}
    async with gateway.http.get("/api/v1/webhook-events", params=query) as response:
        assert response.status == 200
    request = gateway.fakes.called(LIST_EVENTS)[0].request
    assert (request.page_size, request.state, request.reason) == (20, 4, "no id")
    assert request.start_time.ToJsonString() == "2026-11-22T12:00:00Z"


async def test_a_query_may_repeat_a_repeated_field_and_no_other(gateway: World) -> None:
    async with gateway.http.get("/api/v1/feed?types=a&types=b&after_position=9007199254740993") as response:
        assert response.status == 200
    assert list(gateway.fakes.calls[0].request.types) == ["a", "b"]
    assert gateway.fakes.calls[0].request.after_position == 9007199254740993
    async with gateway.http.get("/api/v1/contacts?name=a&name=b") as response:
        assert (response.status, (await response.json())["reason"]) == (400, "FIELD_INVALID")


@pytest.mark.parametrize(
    ("path", "body", "reason", "field"),
    [
        ("/api/v1/contacts", {"name": "Ana", "nome": "Ana"}, "FIELD_UNKNOWN", "nome"),
        ("/api/v1/contacts", {"name": 7}, "FIELD_INVALID", "name"),
        ("/api/v1/contacts", {"name": "Ana", "tags": ["a", 7]}, "FIELD_INVALID", "tags[1]"),
        ("/api/v1/contacts", {"name": "Ana", "source": "whatsapp"}, "FIELD_INVALID", "source"),
        ("/api/v1/deals", {"title": "x", "contact_id": "undefined"}, "FIELD_INVALID", "contact_id"),
        ("/api/v1/deals", {"title": "x", "contact_id": "null"}, "FIELD_INVALID", "contact_id"),
        ("/api/v1/deals", {"title": "x", "value": {"minor_units": "abc"}}, "FIELD_INVALID", "value.minor_units"),
        ("/api/v1/deals", {"title": "x", "value": {"cents": 5}}, "FIELD_UNKNOWN", "value.cents"),
        ("/api/v1/contacts", [], "FIELD_INVALID", "body"),
    ],
)
async def test_a_field_that_cannot_be_read_is_refused_by_name(
    gateway: World, path: str, body: object, reason: str, field: str
) -> None:
    async with gateway.http.post(path, json=body) as response:
        problem = await response.json()
        assert response.status == 400
        assert response.content_type == "application/problem+json"
    assert problem["reason"] == reason
    assert problem["violations"][0]["field"] == field
    assert gateway.fakes.calls == []


async def test_blank_texts_and_numbers_as_texts_are_understood(gateway: World) -> None:
    body = {
        "title": "Venda",
        "contact_id": "0198c0de-7a11-7cc3-98c4-dc0c0c07398f",
        "stage_id": "",
        "value": {"minor_units": "12900", "currency": "BRL"},
        "request_id": None,
    }
    async with gateway.http.post("/api/v1/deals", json=body) as response:
        assert response.status == 200
    request: crm_pb.CreateDealRequest = gateway.fakes.calls[0].request
    assert (request.value.minor_units, request.stage_id, request.request_id) == (12900, "", "")
    async with gateway.http.get("/api/v1/webhook-events?page_size=&state=&start_time=%20") as response:
        assert response.status == 200
    assert not gateway.fakes.calls[1].request.HasField("start_time")


async def test_the_path_and_the_body_may_not_contradict_each_other(gateway: World) -> None:
    url = "/api/v1/connections/c1:addSecret"
    async with gateway.http.post(url, json={"connection_id": "c2", "webhook_secret": "x" * 8}) as response:
        assert (response.status, (await response.json())["reason"]) == (400, "FIELD_INVALID")
    async with gateway.http.post(url, json={"connection_id": "c1", "webhook_secret": "x" * 8}) as response:
        assert response.status == 200


async def test_malformed_json_is_told_with_its_place(gateway: World) -> None:
    async with gateway.http.post("/api/v1/contacts", data=b'{"name": "Ana",\n "tags": [}') as response:
        problem = await response.json()
        assert response.status == 400
    assert problem["reason"] == "JSON_MALFORMED"
    assert problem["metadata"] == {"line": "2", "column": "11"}


@pytest.mark.parametrize("body", [b"\xff\xfe", b'{"name": "\xed\xa0\x80}', b'{"name": \\ud800}', b"[" * 100_000])
async def test_a_body_that_is_no_text_is_malformed_and_never_an_error_of_ours(gateway: World, body: bytes) -> None:
    async with gateway.http.post("/api/v1/contacts", data=body, headers=gateway.token()) as response:
        assert (response.status, (await response.json())["reason"]) == (400, "JSON_MALFORMED")


async def test_a_body_above_the_limit_is_refused(gateway: World) -> None:
    body = BytesIO(b" " * (API_BODY_BYTES_MAX + 1))
    async with gateway.http.post("/api/v1/contacts", data=body, headers=gateway.token()) as response:
        assert (response.status, (await response.json())["reason"]) == (413, "BODY_TOO_LARGE")


@pytest.mark.parametrize("limit", ["api_bytes_in_flight_max", "api_bytes_of_strangers_max"])
async def test_bodies_of_callers_and_of_strangers_are_bounded_until_their_calls_end(limit: str) -> None:
    limits: dict[str, Any] = {limit: 100}
    async with serve_gateway(**limits) as gateway, asyncio.timeout(PATIENCE_SECONDS):
        strangers = limit == "api_bytes_of_strangers_max"
        headers = {} if strangers else gateway.token()
        go_on = asyncio.Event()

        async def hang(_: object) -> contact_pb.Contact:
            await go_on.wait()
            return contact_pb.Contact()

        gateway.fakes.answers[CREATE_CONTACT] = hang
        body = {"name": "x" * 50}
        first = asyncio.create_task(gateway.http.post("/api/v1/contacts", json=body, headers=headers).__aenter__())
        await gateway.fakes.wait_for_calls(1)
        for path, refused in (("/api/v1/contacts", body), ("/api/v1/contacts", {"name": "x" * 200})):
            async with gateway.http.post(path, json=refused, headers=headers) as response:
                assert (response.status, (await response.json())["reason"]) == (503, "OVERLOADED")
                assert "Retry-After" in response.headers
        form = {"grant_type": "client_credentials", "client_secret": "ncrm_" + "x" * 50}
        async with gateway.http.post("/api/v1/token", data=form) as response:
            assert response.status == (503 if strangers else 200)
        go_on.set()
        (await first).release()
        for _ in range(3):
            async with gateway.http.post("/api/v1/contacts", json=body, headers=headers) as response:
                assert response.status == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidArgument("EXTERNAL_ID_INVALID", "No id."), 400),
        (OutOfRange("POSITION_EXPIRED", "Too old."), 400),
        (FailedPrecondition("CHANNEL_AMBIGUOUS", "Two."), 400),
        (Unauthenticated("TOKEN_MISSING", "Sign in."), 401),
        (PermissionDenied("ROLE_TOO_LOW", "No."), 403),
        (NotFound("CONTACT_NOT_FOUND", "No such contact."), 404),
        (AlreadyExists("IDENTITY_TAKEN", "Taken."), 409),
        (Aborted("ETAG_STALE", "Changed."), 409),
        (ResourceExhausted("LIMITED", "Slow down."), 429),
        (Unavailable("STORE_AWAY", "Soon."), 503),
    ],
)
async def test_an_error_keeps_its_reason_and_gets_its_status(gateway: World, error: ProsaError, status: int) -> None:
    async def refuse(_: object) -> contact_pb.Contact:
        raise error

    gateway.fakes.answers[GET_CONTACT] = refuse
    headers = {"X-Correlation-Id": "n8n-77"}
    async with gateway.http.get("/api/v1/contacts/c1", headers=headers) as response:
        problem = await response.json()
        assert response.status == problem["status"] == status
        assert response.headers["X-Correlation-Id"] == problem["correlation_id"] == "n8n-77"
        assert ("WWW-Authenticate" in response.headers) == (status == 401)
        assert ("Retry-After" in response.headers) == (status in (429, 503))
    assert (problem["reason"], problem["detail"]) == (error.reason, error.message)


async def test_violations_and_metadata_reach_the_caller(gateway: World) -> None:
    async def refuse(_: object) -> contact_pb.Contact:
        violations = [FieldViolation("name", "must not be empty")]
        raise InvalidArgument("REQUEST_INVALID", "name must not be empty.", violations=violations, hint="x")

    gateway.fakes.answers[CREATE_CONTACT] = refuse
    async with gateway.http.post("/api/v1/contacts", json={}) as response:
        problem = await response.json()
    assert problem["violations"] == [{"field": "name", "description": "must not be empty"}]
    assert problem["metadata"] == {"hint": "x"}


async def test_an_unexpected_error_is_told_without_a_word_of_it(gateway: World) -> None:
    async def fail(_: object) -> contact_pb.Contact:
        raise RuntimeError("password=hunter2")

    gateway.fakes.answers[GET_CONTACT] = fail
    async with gateway.http.get("/api/v1/contacts/c1") as response:
        text = await response.text()
        assert response.status == 500
    assert "hunter2" not in text
    assert "Traceback" not in text
    assert '"reason":"INTERNAL"' in text


async def test_a_service_that_is_away_is_503_and_names_no_address(gateway: World) -> None:
    await gateway.grpc_server.stop(None)
    async with gateway.http.get("/api/v1/contacts/c1") as response:
        problem = await response.json()
        assert (response.status, problem["reason"]) == (503, "SERVICE_UNAVAILABLE")
        assert response.headers["Retry-After"] == "1"
    assert "127.0.0.1" not in str(problem)


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/api/v1/nothing", 404, "PATH_NOT_FOUND"),
        ("DELETE", "/api/v1/contacts", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/api/v1/connections/c1:addSecret", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/api/v1/connections/c1:unknown", 404, "PATH_NOT_FOUND"),
    ],
)
async def test_what_is_not_there_is_a_problem_too(
    gateway: World, method: str, path: str, status: int, reason: str
) -> None:
    async with gateway.http.request(method, path) as response:
        assert response.content_type == "application/problem+json"
        assert (response.status, (await response.json())["reason"]) == (status, reason)
        assert ("Allow" in response.headers) == (status == 405)


async def test_an_idempotency_key_of_any_text_becomes_the_request_id(gateway: World) -> None:
    for key in ("flow-7-create", "flow-7-create", "flow-8-create"):
        headers = {"Idempotency-Key": key}
        async with gateway.http.post("/api/v1/contacts", json={"name": "Ana"}, headers=headers) as response:
            assert response.status == 200
    ids = [call.request.request_id for call in gateway.fakes.calls]
    assert ids[0] == ids[1] == str(uuid5(IDEMPOTENCY_NAMESPACE, "flow-7-create"))
    assert ids[2] != ids[0]


async def test_a_request_id_in_the_body_wins_over_the_header(gateway: World) -> None:
    request_id = "0198c0de-7a11-7cc3-98c4-dc0c0c07398f"
    body = {"name": "Ana", "request_id": request_id}
    async with gateway.http.post("/api/v1/contacts", json=body, headers={"Idempotency-Key": "x"}):
        pass
    assert gateway.fakes.calls[0].request.request_id == request_id


async def test_a_token_is_passed_on_and_so_are_the_ids(gateway: World) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = {"Authorization": "Bearer abc.def.ghi", "X-Request-Id": "r-1", "traceparent": trace}
    async with gateway.http.get("/api/v1/contacts/c1", headers=headers) as response:
        assert response.headers["X-Correlation-Id"] == "r-1"
    call = gateway.fakes.calls[0]
    assert call.metadata["authorization"] == "Bearer abc.def.ghi"
    assert (call.metadata["x-correlation-id"], call.metadata["traceparent"]) == ("r-1", trace)


async def test_without_credentials_nothing_stands_in_for_them(gateway: World) -> None:
    async with gateway.http.get("/api/v1/contacts/c1", headers={"X-Correlation-Id": "né <b>"}) as response:
        made = response.headers["X-Correlation-Id"]
    assert "authorization" not in gateway.fakes.calls[0].metadata
    assert re.fullmatch(r"[0-9a-f]{32}", made)


async def test_an_api_key_is_exchanged_once_for_many_at_once(gateway: World) -> None:
    async def get(_: int) -> int:
        async with gateway.http.get("/api/v1/contacts/c1", headers={"X-Api-Key": "ncrm_good"}) as response:
            return response.status

    assert set(await asyncio.gather(*(get(index) for index in range(8)))) == {200}
    assert len(gateway.fakes.called(EXCHANGE)) == 1
    token = f"Bearer subscriber-{ORGANIZATION}"
    assert {call.metadata["authorization"] for call in gateway.fakes.called(GET_CONTACT)} == {token}
    assert "authorization" not in gateway.fakes.called(EXCHANGE)[0].metadata


async def test_an_api_key_may_come_as_bearer_token(gateway: World) -> None:
    async with gateway.http.get("/api/v1/contacts/c1", headers={"Authorization": "Bearer ncrm_good"}) as response:
        assert response.status == 200
    assert gateway.fakes.called(GET_CONTACT)[0].metadata["authorization"] == f"Bearer subscriber-{ORGANIZATION}"


async def test_a_wrong_api_key_is_refused_and_not_asked_for_again_at_once(gateway: World) -> None:
    for _ in range(3):
        async with gateway.http.get("/api/v1/contacts/c1", headers={"X-Api-Key": "ncrm_wrong"}) as response:
            assert (response.status, (await response.json())["reason"]) == (401, "API_KEY_INVALID")
    assert len(gateway.fakes.called(EXCHANGE)) == 1
    assert gateway.fakes.called(GET_CONTACT) == []


async def test_a_key_whose_token_was_refused_is_exchanged_anew(gateway: World) -> None:
    async def refuse(_: object) -> contact_pb.Contact:
        raise Unauthenticated("TOKEN_REVOKED", "Revoked.")

    gateway.fakes.answers[GET_CONTACT] = refuse
    for _ in range(2):
        async with gateway.http.get("/api/v1/contacts/c1", headers={"X-Api-Key": "ncrm_good"}) as response:
            assert response.status == 401
    assert len(gateway.fakes.called(EXCHANGE)) == 2


@pytest.mark.parametrize("value", ["Basic YTpi", "Bearer", "Bearer a b", "Bearer é"])
async def test_an_authorization_that_cannot_be_a_token_is_refused(gateway: World, value: str) -> None:
    async with gateway.http.get("/api/v1/contacts/c1", headers={"Authorization": value}) as response:
        assert (response.status, (await response.json())["reason"]) == (401, "TOKEN_INVALID")


async def test_every_answer_carries_the_security_headers(gateway: World) -> None:
    for path in ("/api/v1/contacts/c1", "/nothing", "/healthz"):
        async with gateway.http.get(path) as response:
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert response.headers["Server"] == "prosa"


async def test_a_compressed_body_is_refused_rather_than_misread(gateway: World) -> None:
    headers = {"Content-Encoding": "gzip"}
    async with gateway.http.post("/api/v1/contacts", data=b"\x1f\x8b", headers=headers) as response:
        assert (response.status, (await response.json())["reason"]) == (415, "CONTENT_ENCODING_UNSUPPORTED")


async def test_a_call_that_ends_in_an_odd_code_is_an_internal_error(gateway: World) -> None:
    async def lose(_: object) -> contact_pb.Contact:
        class Lost(ProsaError):
            code = grpc.StatusCode.DATA_LOSS

        raise Lost("LOST", "secret detail")

    gateway.fakes.answers[GET_CONTACT] = lose
    async with gateway.http.get("/api/v1/contacts/c1") as response:
        assert response.status == 500
        assert "secret detail" not in await response.text()


def test_every_path_of_the_contracts_is_bound_once() -> None:
    paths = [(binding.http_method, binding.template) for binding in BINDINGS]
    assert len(paths) == len(set(paths)) >= 30
