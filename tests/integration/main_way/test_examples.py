"""The examples of the API page, sent as they stand."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from chassis.transcoding.fields import EXAMPLE_ID
from chassis.transcoding.plans import Plans
from gateway.openapi.operations import Operation, operations, request_example
from gateway.transcoding.bindings import bindings
from prosa.identity.v1 import access_service_pb2 as access
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub
from tests.browser import Browser
from tests.harness import Harness

# Those that name a thing by an id, which the reader has to put there, are not tried.
ALONE = [
    item
    for item in operations(bindings(Plans()))
    if item.binding.body and not item.binding.path_fields and EXAMPLE_ID not in json.dumps(request_example(item))
]
PASSWORD = "a-long-password-of-the-tests"


@pytest.mark.case("O12")
@pytest.mark.parametrize("item", [item for item in ALONE if item.scope], ids=lambda item: item.operation_id)
async def test_an_example_succeeds_with_a_key(item: Operation, harness: Harness) -> None:
    status, answer = await harness.send(item.binding.template, request_example(item), item.binding.http_method)
    assert status == 200, answer


@pytest.mark.case("O12")
async def test_a_key_is_made_as_the_page_says(harness: Harness) -> None:
    email = f"{uuid4().hex}@example.com"
    await (
        harness.world.as_service("cli")
        .stub(AccessServiceStub)
        .CreateOrganization(
            access.CreateOrganizationRequest(name=f"Organization {uuid4()}", admin_email=email, admin_password=PASSWORD)
        )
    )
    by_name = {item.operation_id: item for item in ALONE}
    url = harness.url + by_name["CreateSession"].binding.template
    async with harness.session.post(url, json={"email": email, "password": PASSWORD}) as answer:
        token = (await answer.json())["access_token"]
    browser = Browser(harness.session, harness.url, headers={"Authorization": f"Bearer {token}"})
    _, recovery_codes = await browser.set_up_mfa(harness.world.clock)
    again = {"email": email, "password": PASSWORD, "mfa_code": recovery_codes[0]}
    async with harness.session.post(url, json=again) as answer:
        token = (await answer.json())["access_token"]
    item = by_name["CreateApiKey"]
    headers = {"Authorization": f"Bearer {token}"}
    async with harness.session.post(
        harness.url + item.binding.template, json=request_example(item), headers=headers
    ) as answer:
        key = (await answer.json())["secret"]
    ensure = by_name["EnsureContact"]
    async with harness.session.post(
        harness.url + ensure.binding.template, json=request_example(ensure), headers={"X-Api-Key": key}
    ) as answer:
        assert answer.status == 200


@pytest.mark.case("O13")
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_who_brings_nothing_is_told_which_header_to_send(harness: Harness, method: str) -> None:
    path = "/api/v1/contacts" if method == "GET" else "/api/v1/contacts:ensure"
    async with harness.session.request(method, harness.url + path, json={} if method == "POST" else None) as answer:
        told = await answer.json(content_type=None)
    assert (answer.status, told["reason"]) == (401, "TOKEN_MISSING")
    assert "X-Api-Key" in told["detail"]
    assert "Authorization: Bearer" in told["detail"]
