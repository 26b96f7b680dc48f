"""The dashboard's files as the gateway serves them: which addresses are pages, what may be kept, what may run."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.routes.dashboard import Dashboard, DashboardIncomplete, built_dashboard
from tests.integration.gateway.fake_services import World, serve_gateway

INDEX = '<!doctype html><script type="module" src="/assets/main-1a2b.js"></script>'
SCRIPT = "export const words = 1;" * 100


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A build as small as one can be."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text(INDEX)
    (tmp_path / "pages.json").write_text(json.dumps(["conversations", "board"]))
    (tmp_path / "icon.svg").write_text("<svg/>")
    (tmp_path / "assets" / "main-1a2b.js").write_text(SCRIPT)
    (tmp_path / ".digest").write_text("1")
    return tmp_path


@pytest.fixture
async def served(built: Path) -> AsyncIterator[World]:
    """A gateway that has that build."""
    async with serve_gateway(dashboard=Dashboard(built)) as world:
        yield world


@pytest.mark.parametrize("path", ["/", "/conversations", "/conversations/0198c0de", "/board?board=sales"])
async def test_every_address_of_a_page_gets_the_index(served: World, path: str) -> None:
    async with served.http.get(path) as answer:
        assert (answer.status, answer.content_type, await answer.text()) == (200, "text/html", INDEX)
        assert answer.headers["Cache-Control"] == "no-cache"
        policy = answer.headers["Content-Security-Policy"]
        tag = answer.headers["ETag"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    async with served.http.get(path, headers={"If-None-Match": tag}) as again:
        assert again.status == 304


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/nothing",
        "/api/conversations",
        "/webhooks/nobody",
        "/webhooks/chatwoot/x/conversations",
        "/conversation",
        "/elsewhere",
        "/index.html",
        "/pages.json",
        "/.digest",
        "/assets/none.js",
        "/assets/..%2fpages.json",
        "/assets/%2e%2e/pages.json",
    ],
)
async def test_no_other_address_does(served: World, path: str) -> None:
    async with served.http.get(path) as answer:
        assert answer.status in (401, 404, 405)
        assert answer.content_type == "application/problem+json"


async def test_files_with_a_hash_in_their_names_are_kept_for_good(served: World) -> None:
    async with served.http.get("/assets/main-1a2b.js", headers={"Accept-Encoding": "gzip"}) as answer:
        assert await answer.text() == SCRIPT
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.content_type == "text/javascript"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    async with served.http.get("/assets/main-1a2b.js", headers={"Accept-Encoding": "identity"}) as plain:
        assert "Content-Encoding" not in plain.headers
        assert await plain.text() == SCRIPT
    async with served.http.get("/icon.svg") as icon:
        assert (icon.headers["Cache-Control"], icon.content_type) == ("no-cache", "image/svg+xml")


async def test_where_nothing_was_built_the_root_says_how(gateway: World) -> None:
    async with gateway.http.get("/") as answer:
        assert "<code>make install</code>" in await answer.text()
    async with gateway.http.get("/conversations") as answer:
        assert answer.status == 404


def test_half_a_build_is_refused_and_none_is_none(built: Path) -> None:
    assert built_dashboard(built / "nowhere") is None
    (built / "pages.json").unlink()
    with pytest.raises(DashboardIncomplete, match="make install"):
        built_dashboard(built)
