"""Health, readiness, the landing page and what is read about the API."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tests.integration.gateway.fake_services import World, serve_gateway


@pytest.mark.req("GW-01")
@pytest.mark.parametrize("path", ["/healthz", "/health"])
async def test_a_process_that_lives_says_so_whatever_is_away(gateway: World, path: str) -> None:
    await gateway.grpc_server.stop(None)
    async with gateway.http.get(path) as response:
        assert (response.status, await response.json()) == (200, {"status": "ok"})
    async with gateway.http.head(path) as response:
        assert response.status == 200


@pytest.mark.req("GW-01")
async def test_readiness_names_each_dependency_and_is_503_when_one_is_away(gateway: World) -> None:
    async with gateway.http.get("/readyz") as ready:
        assert (ready.status, (await ready.json())["dependencies"]) == (200, {"identity": "ok", "ingest": "ok"})
    gateway.seen["ingest"] = "away: ConnectionError"
    async with gateway.http.get("/readyz") as unready:
        assert unready.status == 503
        assert await unready.json() == {
            "status": "unavailable",
            "dependencies": {"identity": "ok", "ingest": "away: ConnectionError"},
        }


@pytest.mark.parametrize("path", ["/", "/api/docs"])
async def test_the_pages_are_html_that_may_run_no_script(gateway: World, path: str) -> None:
    async with gateway.http.get(path) as response:
        assert (response.status, response.content_type) == (200, "text/html")
        policy = response.headers["Content-Security-Policy"]
        text = await response.text()
    assert "script" not in policy
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "<h1>" in text


@pytest.mark.parametrize("path", ["/", "/api/docs", "/api/openapi.json"])
async def test_what_has_not_changed_is_not_sent_again(gateway: World, path: str) -> None:
    async with gateway.http.get(path) as first:
        tag = first.headers["ETag"]
    async with gateway.http.get(path, headers={"If-None-Match": tag}) as again:
        assert (again.status, await again.read()) == (304, b"")
    async with gateway.http.get(path, headers={"If-None-Match": '"other"'}) as other:
        assert other.status == 200


async def test_examples_call_the_address_under_which_the_page_was_found(gateway: World) -> None:
    async with gateway.http.get("/api/docs") as response:
        here = await response.text()
        found = f"curl {response.url.origin()}/api/v1/"
    assert found in here
    assert "localhost:8080" not in here
    behind_a_proxy = {"Host": "prosa.example.com", "X-Forwarded-Proto": "https"}
    async with gateway.http.get("/api/docs", headers=behind_a_proxy) as response:
        assert "curl https://prosa.example.com/api/v1/" in await response.text()


@pytest.mark.parametrize(
    "headers", [{"Host": "x$(reboot)"}, {"Host": "a b"}, {"X-Forwarded-Proto": "javascript"}, {"Host": "-x"}], ids=str
)
async def test_what_is_no_plain_address_does_not_get_into_examples(gateway: World, headers: dict[str, str]) -> None:
    async with gateway.http.get("/api/docs", headers=headers) as response:
        text = await response.text()
    assert "curl http://localhost:8080/api/v1/" in text
    assert not any(value in text for value in ("reboot", "a b/api", "javascript:", "://-x"))


async def test_the_openapi_document_is_served(gateway: World) -> None:
    async with gateway.http.get("/api/openapi.json") as response:
        document = await response.json()
    assert document["openapi"] == "3.1.0"
    assert "/api/v1/contacts:ensure" in document["paths"]


async def test_requests_are_counted_by_route_and_never_by_path() -> None:
    registry = CollectorRegistry()
    async with serve_gateway(registry=registry) as gateway:
        for path in ("/api/v1/contacts/c1", "/api/v1/contacts/c2", "/nowhere/1"):
            async with gateway.http.get(path):
                pass
        async with gateway.http.request("BREW", "/healthz"):
            pass
    text = generate_latest(registry).decode()
    found = {"method": "GET", "route": "/api/v1/contacts/{v0}", "status": "200"}
    assert registry.get_sample_value("prosa_http_seconds_count", found) == 2
    assert "nowhere" not in text
    assert "BREW" not in text
    assert "prosa_stream_clients 0.0" in text
