"""The client of `openai`, held by the guard: it reaches nothing private, follows nobody, and tells nothing of us."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from chassis.addresses import AllowedHosts
from chassis.outgoing import Outgoing
from sandbox.model.app import KEY, FakeModel
from services.conversation.speaking.guarded import SENT
from services.conversation.speaking.model import Model, Prompt

HOST = "127.0.0.1"
OF_HTTP = {"host", "content-length", "accept-encoding"}
"""What whoever speaks HTTP says."""


class Server:
    """A fake model that notes what comes, and may send elsewhere."""

    def __init__(self) -> None:
        self.fake = FakeModel()
        self.headers: list[dict[str, str]] = []
        self.elsewhere = ""

    @web.middleware
    async def note(self, request: web.Request, handler: web.Handler) -> web.StreamResponse:  # type: ignore[name-defined]
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if self.elsewhere:
            raise web.HTTPTemporaryRedirect(self.elsewhere)
        answer: web.StreamResponse = await handler(request)
        return answer


@pytest_asyncio.fixture(loop_scope="session")
async def server() -> AsyncIterator[tuple[Server, str]]:
    noting = Server()
    app = noting.fake.app()
    app.middlewares.append(noting.note)
    listening = TestServer(app, host=HOST)
    await listening.start_server()
    yield noting, f"http://{HOST}:{listening.port}/v1"
    await listening.close()


async def ask(base_url: str, allowed: str) -> str | None:
    outgoing = Outgoing(AllowedHosts(allowed))
    try:
        said = await Model(outgoing).ask(Prompt(base_url, KEY, "gpt", 0.2, "Be brief.", [("user", "Abrem domingo?")]))
    finally:
        await outgoing.close()
    return None if said is None else said.text


async def test_only_what_the_call_needs_goes_out(server: tuple[Server, str], monkeypatch: pytest.MonkeyPatch) -> None:
    noting, base_url = server
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "of-the-operator")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9")
    said = await ask(base_url, base_url.removeprefix("http://").removesuffix("/v1"))
    assert said is not None
    assert "Abrem domingo?" in said
    [headers] = noting.headers
    assert headers.keys() <= SENT | OF_HTTP
    assert headers["authorization"] == f"Bearer {KEY}"
    assert "of-the-operator" not in str(headers)


async def test_a_private_address_is_not_called_by_it_either(server: tuple[Server, str]) -> None:
    noting, base_url = server
    assert await ask(base_url, "") is None
    assert noting.headers == []


async def test_a_redirect_is_followed_nowhere(server: tuple[Server, str]) -> None:
    noting, base_url = server
    noting.elsewhere = f"{base_url}/chat/completions"
    assert await ask(base_url, HOST) is None
    assert len(noting.headers) == 1
