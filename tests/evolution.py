"""The fake Evolution in a test's own process, and an organization whose administrator connects numbers to it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from aiohttp.test_utils import TestServer

from prosa.v1.options_pb2 import ROLE_ADMIN
from sandbox.evolution.app import make_app
from sandbox.evolution.faults import Faults
from sandbox.evolution.sender import Sender
from sandbox.evolution.world import Instance, Pace
from sandbox.evolution.world import World as EvolutionWorld
from tests.harness import Harness
from tests.world import World

GLOBAL_KEY = "the-global-key-of-evolution"
UNTIL_SECONDS = 60.0
PHONE = "+5511900004821"


def free_port() -> int:
    """A port that nobody listens at: the gateway's address must be known before it starts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@dataclass
class Fake:
    """The fake, and what goes on in it."""

    url: str
    world: EvolutionWorld
    faults: Faults


@asynccontextmanager
async def open_fake(**pace: Any) -> AsyncIterator[Fake]:
    """Runs one; its phones scan, and its receipts come, only where the test says so."""
    faults = Faults()
    sender = Sender(faults, first_wait_seconds=0.05)
    told = {"scan_seconds": None, "receipt_seconds": None} | pace
    world = EvolutionWorld(sender, lambda: datetime.now(UTC), Pace(**told))
    server = TestServer(make_app(world, faults, GLOBAL_KEY), host="127.0.0.1")
    async with server:
        yield Fake(f"http://127.0.0.1:{server.port}", world, faults)


async def eventually(look: Callable[[], Awaitable[Any]]) -> Any:
    """What a look finds once it finds anything."""
    async with asyncio.timeout(UNTIL_SECONDS):
        while not (found := await look()):  # noqa: ASYNC110 - it is looked at over HTTP
            await asyncio.sleep(0.02)
    return found


@dataclass
class Admin:
    """An administrator at a browser, over HTTP."""

    harness: Harness
    fake: Fake

    @property
    def world(self) -> World:
        return self.harness.world

    def token(self, *, mfa: bool = True) -> str:
        """What the administrator is let in with, having just shown a second factor."""
        now = self.world.clock.now()
        token, _ = self.world.host.signer("identity").person_token(
            kind="user",
            principal=f"user:{uuid4()}",
            organization_id=self.harness.organization_id,
            role=ROLE_ADMIN,
            mfa_time=now if mfa else None,
            mfa_set_up=True,
        )
        return token

    async def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, token: str | None = None
    ) -> tuple[int, dict[str, Any]]:
        """One call of the REST interface."""
        headers = {"Authorization": f"Bearer {token or self.token()}"}
        async with self.harness.session.request(method, self.harness.url + path, json=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def create(self, name: str = "Vendas", **fields: Any) -> dict[str, Any]:
        """Connects a number; answers what was made."""
        body = {"name": name, "base_url": self.fake.url, "access_token": GLOBAL_KEY} | fields
        status, made = await self.call("POST", "/api/v1/instances", body)
        assert status == 200, made
        return made

    async def doctor(self) -> list[dict[str, Any]]:
        """The items of the doctor's report."""
        status, report = await self.call("POST", "/api/v1/rollout:doctor", {})
        assert status == 200, report
        items: list[dict[str, Any]] = report["items"]
        return items

    async def caused(self, instance_id: str, words: str) -> dict[str, Any] | None:
        """The number, once its cause has these words."""
        status, found = await self.call("GET", f"/api/v1/instances/{instance_id}")
        return found if status == 200 and words in found["cause"] else None

    async def until_state(self, instance_id: str, *states: str) -> dict[str, Any]:
        """Waits until the number is in one of the states."""

        async def look() -> dict[str, Any] | None:
            status, found = await self.call("GET", f"/api/v1/instances/{instance_id}")
            return found if status == 200 and found["state"] in states else None

        found: dict[str, Any] = await eventually(look)
        return found

    async def connected(self, name: str = "Vendas", phone: str = "+5511960007001") -> tuple[dict[str, Any], Instance]:
        """A number that is open: the instance as the API tells of it, and the fake's."""
        made = await self.create(name)
        await self.until_state(made["instance_id"], "QR")
        instance = self.fake.world.instances[made["channel"]["evolution_instance"]]
        self.fake.world.scan(instance, phone)
        return await self.until_state(made["instance_id"], "OPEN"), instance

    async def messages(self, conversation_id: str) -> list[dict[str, Any]]:
        """What was said in a conversation, oldest first."""
        _, found = await self.harness.get(f"/api/v1/conversations/{conversation_id}/messages")
        said: list[dict[str, Any]] = found.get("messages", [])[::-1]
        return said

    async def done(self, count: int, event: str = "messages.upsert") -> list[dict[str, Any]]:
        """The organization's stored events of a kind once so many are done, in the order in which they came."""

        async def look() -> list[dict[str, Any]] | None:
            rows = await self.world.rows(
                "select * from ingest.webhook_events where organization_id = %s and event = %s"
                " and state <> 'PENDING' order by id",
                UUID(str(self.harness.organization_id)),
                event,
            )
            return rows if len(rows) >= count else None

        found: list[dict[str, Any]] = await eventually(look)
        return found
