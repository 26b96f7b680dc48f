"""The fake as a process, and its control calls as a person at a terminal uses them."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.integration.sandbox.receiver import Receiver, receiving
from tests.world import PATIENCE_SECONDS

SECRET = "segredo-do-teste"
ROOT = Path(__file__).parents[3]


class Process:
    """The running child, its log lines so far and a client for it."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self.child = child
        self.ready: dict[str, Any] = {}
        self.client = aiohttp.ClientSession()

    async def log_line(self) -> dict[str, Any]:
        """The next line of its log."""
        assert self.child.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            line: dict[str, Any] = json.loads(await self.child.stdout.readline())
        return line

    async def control(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and answer of one control call."""
        url = f"{self.ready['url']}/_sandbox{path}"
        async with self.client.request(method, url, json=body, headers=headers) as response:
            return response.status, await response.json()

    async def stop(self) -> list[dict[str, Any]]:
        """Sends SIGTERM and gives the rest of the log."""
        self.child.send_signal(signal.SIGTERM)
        assert self.child.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            rest = await self.child.stdout.read()
            await self.child.wait()
        return [json.loads(line) for line in rest.splitlines()]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving(SECRET) as made:
        yield made


@pytest.fixture
async def process(receiver: Receiver) -> AsyncIterator[Process]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sandbox.chatwoot", "--webhook-url", receiver.url, "--whatsapp-inbox-id", "21"),
        *("--instagram-inbox-id", "22"),
        env=os.environ | {"PROSA_SANDBOX_WEBHOOK_SECRET": SECRET, "PROSA_SANDBOX_ACCOUNT_ID": "7"},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    made = Process(child)
    made.ready = await made.log_line()
    yield made
    await made.client.close()
    if child.returncode is None:
        child.kill()
        await child.wait()


async def test_a_day_at_the_terminal(process: Process, receiver: Receiver) -> None:
    assert process.ready["event"] == "ready"
    assert process.ready["inboxes"] == {"Channel::Whatsapp": 21, "Channel::Instagram": 22}
    status, written = await process.control(
        "POST", "/incoming", {"inbox": "instagram", "name": "Zé da Silva", "text": "Oi! Tem vaga?"}
    )
    assert (status, written["inbox_id"], written["conversation_id"], written["phone_number"]) == (200, 22, 1, None)
    _, again = await process.control("POST", "/incoming", {"inbox": 22, "name": "Zé da Silva", "text": "?"})
    assert again["contact_id"] == written["contact_id"]
    for path, body in {
        "/reply": {"conversation_id": 1, "text": "Tem sim"},
        "/echo": {"conversation_id": 1, "text": "Do celular"},
        "/note": {"conversation_id": 1, "text": "Ligar"},
        "/label": {"conversation_id": 1, "label": "vip"},
        "/typing": {"conversation_id": 1},
        "/delete": {"message_id": 1},
        "/status": {"message_id": 3, "status": "read"},
        "/contact": {"contact_id": 1, "email": "ze@exemplo.example"},
        "/resolve": {"conversation_id": 1},
        "/send": {"payload": {"event": "message_created", "id": 99}},
    }.items():
        assert (await process.control("POST", path, body))[0] == 200, path
    await receiver.until(lambda items: any(item.body.get("id") == 99 for item in items))
    assert all(item.authentic for item in receiver.received)
    log = await process.stop()
    assert process.child.returncode == 0
    assert [line["event"] for line in log] == ["stopping", "stopped"]
    assert log[-1]["statuses"] == {"200": len(receiver.received)}
    assert "Tem vaga" not in json.dumps(log)
    assert SECRET not in json.dumps(log)


async def test_what_is_on_its_way_at_sigterm_is_still_delivered(process: Process, receiver: Receiver) -> None:
    receiver.released.clear()
    await process.control("POST", "/incoming", {"name": "Bia", "text": "Oi"})
    await receiver.until(lambda items: len(items) == 4)
    process.child.send_signal(signal.SIGTERM)
    assert (await process.log_line())["event"] == "stopping"
    receiver.released.set()
    assert (await process.log_line())["statuses"] == {"200": 4}


async def test_faults_webhooks_and_traffic_are_driven_from_outside(process: Process, receiver: Receiver) -> None:
    assert (await process.control("GET", "/health"))[0] == 200
    assert (await process.control("POST", "/faults", {"kind": "rest.meteor"}))[0] == 422
    assert (await process.control("POST", "/faults", {"kind": "rest.error", "count": 1}))[0] == 200
    async with process.client.get(process.ready["url"] + "/api") as response:
        assert response.status == 503
    _, faults = await process.control("GET", "/faults")
    assert faults == {"active": [], "struck": {"rest.error": 1}}
    status, made = await process.control("POST", "/webhooks", {"url": receiver.url + "?b", "secret": SECRET})
    assert (status, made) == (200, {"id": 2, "secret": SECRET})
    assert (await process.control("POST", "/traffic", {"seconds": 10**9}))[0] == 422
    status, started = await process.control("POST", "/traffic", {"seed": 3, "seconds": 0, "conversations": 3})
    assert (status, started["steps"] > 5) == (200, True)
    await receiver.until(lambda items: len(items) > 30)
    _, counts = await process.control("GET", "/counts")
    assert counts["world"]["conversations"] >= 3
    _, shown = await process.control("GET", "")
    assert shown["account_id"] == 7
    await process.stop()
    assert process.child.returncode == 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/incoming", {"inbox": "fax", "text": "Oi"}),
        ("/reply", {"conversation_id": 404}),
        ("/reply", {"conversation_id": [1]}),
        ("/delete", {"message_id": 404}),
        ("/contact", {"contact_id": 404}),
        ("/contact", {"contact_id": {}}),
        ("/send", {}),
        ("/webhooks", {"url": "nope"}),
        ("/incoming", {"inbox": "whatsapp", "text": 7}),
    ],
)
async def test_a_control_call_that_makes_no_sense_is_a_422(shared: Process, path: str, body: Any) -> None:
    assert (await shared.control("POST", path, body))[0] == 422


async def test_a_web_page_may_not_use_the_control_calls(shared: Process) -> None:
    assert (await shared.control("POST", "/incoming", {"text": "Oi"}, Origin="https://evil.example"))[0] == 403


@pytest.fixture(scope="module")
async def shared() -> AsyncIterator[Process]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sandbox.chatwoot"), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    made = Process(child)
    made.ready = await made.log_line()
    yield made
    await made.client.close()
    child.terminate()
    await child.wait()
