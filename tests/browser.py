"""A person in a browser: keeps the cookie, names its own page as the caller, and repeats the session's token."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from chassis.clock import Clock
from services.identity.access import totp
from tests.world import World


def browser_session() -> aiohttp.ClientSession:
    """HTTP with a jar that keeps cookies of an address too; to be closed by whoever opens it."""
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), timeout=aiohttp.ClientTimeout(total=60))


@dataclass
class Authenticator:
    """A person's phone: each code once, so that none is tried twice without meaning it."""

    secret: bytes
    clock: Clock
    last_step: int = 0

    @classmethod
    def of(cls, written: str, clock: Clock) -> Authenticator:
        """The authenticator that was given a secret."""
        return cls(base64.b32decode(written + "=" * (-len(written) % 8)), clock)

    def code(self) -> str:
        """The code of now, or the next one where that was given; of a clock that stands still there are two."""
        self.last_step = max(self.last_step + 1, totp.step_at(self.clock.now()))
        return totp.code_of(self.secret, self.last_step)


@dataclass
class Browser:
    """One person's browser on one site."""

    http: aiohttp.ClientSession
    url: str
    csrf_token: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def at(cls, world: World, http: aiohttp.ClientSession) -> Browser:
        """A browser before this world's gateway."""
        return cls(http, f"http://127.0.0.1:{world.host.http_port}")

    async def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, /, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """Calls as the site's own page does; ``headers`` replace what it would send, an empty one leaves it out."""
        sent = {"Origin": self.url, "X-Prosa-Csrf": self.csrf_token} if method != "GET" else {}
        sent |= self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in sent.items() if value}
        async with self.http.request(method, self.url + path, json=body, headers=sent) as response:
            return response.status, await response.json(content_type=None)

    async def sign_in(self, email: str, password: str, **fields: Any) -> tuple[int, dict[str, Any]]:
        """Signs in, and keeps the session's token where that went well."""
        return self.kept(await self.call("POST", "/api/v1/session", {"email": email, "password": password, **fields}))

    async def set_up_mfa(self, clock: Clock) -> tuple[Authenticator, list[str]]:
        """Sets the second factor up; answers the phone that has it, and the recovery codes."""
        status, begun = await self.call("POST", "/api/v1/session/mfa:begin", {})
        assert status == 200, begun
        phone = Authenticator.of(begun["secret"], clock)
        status, confirmed = await self.call("POST", "/api/v1/session/mfa:confirm", {"mfa_code": phone.code()})
        assert status == 200, confirmed
        return phone, confirmed["recovery_codes"]

    def kept(self, answered: tuple[int, dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        """The answer, whose session's token is repeated from here on."""
        status, answer = answered
        if status == 200:
            self.csrf_token = answer["csrf_token"]
        return answered

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that it keeps."""
        return {cookie.key: cookie.value for cookie in self.http.cookie_jar}
