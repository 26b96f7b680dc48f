"""A token for an API key, as OAuth 2 libraries ask for it; JSON is asked for in test_api like every other RPC."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from chassis.errors import Unavailable
from tests.harness import Harness, open_harness
from tests.integration.gateway.fake_services import EXCHANGE, ORGANIZATION, World
from tests.world import World as RealWorld

TOKEN = "/api/v1/token"
GRANT = {"grant_type": "client_credentials"}


@pytest.fixture(scope="module")
async def harness(world: RealWorld) -> AsyncIterator[Harness]:
    """A real organization with a key that may do everything."""
    async with aiohttp.ClientSession() as session:
        yield await open_harness(world, session)


def basic(text: str) -> dict[str, str]:
    """The header of HTTP Basic."""
    return {"Authorization": "Basic " + b64encode(text.encode()).decode()}


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        (GRANT | {"client_id": "n8n", "client_secret": "ncrm_good"}, {}),
        (GRANT | {"client_secret": "ncrm_good", "audience": "nobody asked for it", "client_id": ""}, {}),
        (GRANT, basic("n8n:ncrm_good")),
        (GRANT | {"client_id": "n8n"}, basic(":ncrm%5Fgood")),
    ],
)
async def test_a_form_or_http_basic_gets_a_token(gateway: World, form: Any, headers: dict[str, str]) -> None:
    async with gateway.http.post(TOKEN, data=form, headers=headers) as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        assert (response.headers["Cache-Control"], response.headers["Pragma"]) == ("no-store", "no-cache")
        answer = await response.json()
    assert answer["access_token"] == f"subscriber-{ORGANIZATION}"
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 600)
    (call,) = gateway.fakes.called(EXCHANGE)
    assert call.request.client_secret == "ncrm_good"
    assert "authorization" not in call.metadata


@pytest.mark.parametrize(
    ("form", "headers", "status", "error"),
    [
        (GRANT | {"client_secret": "ncrm_wrong"}, {}, 401, "invalid_client"),
        (GRANT | {"client_secret": "é"}, {}, 401, "invalid_client"),
        (GRANT | {"client_secret": "x" * 257}, {}, 401, "invalid_client"),
        (GRANT, {}, 401, "invalid_client"),
        (GRANT, basic("n8n:ncrm_wrong"), 401, "invalid_client"),
        (GRANT, basic("ncrm_good"), 401, "invalid_client"),
        (GRANT, {"Authorization": "Basic !"}, 401, "invalid_client"),
        (GRANT, {"Authorization": "Bearer ncrm_good"}, 401, "invalid_client"),
        (GRANT | {"client_secret": "ncrm_good"}, basic("n8n:ncrm_good"), 400, "invalid_request"),
        ({"client_secret": "ncrm_good"}, {}, 400, "invalid_request"),
        ({"grant_type": "", "client_secret": "ncrm_good"}, {}, 400, "invalid_request"),
        ({"grant_type": "password", "client_secret": "ncrm_good"}, {}, 400, "unsupported_grant_type"),
        (b"grant_type=client_credentials&client_secret=a&client_secret=b", {}, 400, "invalid_request"),
        (b"grant_type=client_credentials&client_secret=%ff", {}, 400, "invalid_request"),
        (b"\xff", {}, 400, "invalid_request"),
        (b"a=b&" * 100, {}, 400, "invalid_request"),
    ],
)
async def test_a_form_that_is_refused_is_told_in_the_words_of_oauth(
    gateway: World, form: Any, headers: dict[str, str], status: int, error: str
) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"} | headers
    async with gateway.http.post(TOKEN, data=form, headers=headers) as response:
        answer = await response.json()
        assert (response.status, answer["error"]) == (status, error)
        assert ("WWW-Authenticate" in response.headers) == (status == 401)
    assert set(answer) == {"error", "error_description"}
    assert "ncrm_wrong" not in answer["error_description"]


async def test_a_key_in_the_address_is_refused(gateway: World) -> None:
    async with gateway.http.post(f"{TOKEN}?client_secret=ncrm_good", data=GRANT) as response:
        assert (response.status, (await response.json())["error"]) == (400, "invalid_request")


async def test_an_identity_that_is_away_is_503_to_a_form_too(gateway: World) -> None:
    async def away(_: object) -> Any:
        raise Unavailable("STORE_UNAVAILABLE", "Soon.")

    gateway.fakes.answers[EXCHANGE] = away
    async with gateway.http.post(TOKEN, data=GRANT | {"client_secret": "ncrm_good"}) as response:
        assert (response.status, (await response.json())["reason"]) == (503, "STORE_UNAVAILABLE")
        assert "Retry-After" in response.headers


async def test_a_key_a_form_and_a_token_lead_to_the_organization(harness: Harness) -> None:
    form = GRANT | {"client_id": "n8n", "client_secret": harness.api_key, "scope": "contacts.read"}
    async with harness.session.post(harness.url + TOKEN, data=form) as response:
        answer = await response.json()
        assert response.status == 200, answer
    assert answer["organization_id"] == str(harness.organization_id)
    assert answer["scope"] == "*"
    headers = {"Authorization": f"{answer['token_type']} {answer['access_token']}"}
    async with harness.session.get(harness.url + "/api/v1/contacts", headers=headers) as response:
        assert response.status == 200
