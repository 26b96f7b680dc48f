"""The public port of a whole `prosa up` under a flood of strangers, and while its receiver is killed."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
import psutil  # type: ignore[import-untyped]  # no stubs are published with it
import pytest

from cli.smoke.bodies import Writer, flat_message
from embedded.shapes import Shape
from prosa.v1.options_pb2 import SOURCE_WHATSAPP
from sandbox.chatwoot.signing import signed_request
from tests.e2e.suite import Suite
from tests.siege.run import besiege

STRANGERS, AT_ONCE, SECONDS = 900, 300, 6.0
WAITING = 20
GONE_SECONDS = 60.0


@pytest.fixture
async def suite(tmp_path: Path) -> AsyncIterator[Suite]:
    """A home that nobody used before."""
    running = Suite(tmp_path / "home")
    yield running
    await running.close()


@pytest.mark.timeout(600)
@pytest.mark.case("S4", "S12")
async def test_strangers_and_the_end_of_the_receiver_keep_no_genuine_webhook_out(suite: Suite) -> None:
    content = await suite.start("--demo", "--shape", Shape.RECEIVER)
    await _nobody_is_refused_while_the_receiver_is_started_again(suite, content)
    siege = await besiege(suite, content, STRANGERS, AT_ONCE, SECONDS)
    assert siege.faults() == [], siege.told()
    assert sum(siege.came.values()) == STRANGERS


async def _nobody_is_refused_while_the_receiver_is_started_again(suite: Suite, content: dict[str, Any]) -> None:
    killed = psutil.Process(suite.pid("gateway"))
    os.kill(killed.pid, signal.SIGKILL)
    async with asyncio.timeout(GONE_SECONDS):
        while killed.is_running() and killed.status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110 not our child
            await asyncio.sleep(0.001)
    # Nobody accepts now; what connects stands in the queue of the socket that the supervisor holds.
    address = urlsplit(content["url"])
    _, early = await asyncio.open_connection(address.hostname, address.port)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(force_close=True)) as session:
        answers = await asyncio.gather(*(_write(session, content, number) for number in range(WAITING)))
    assert answers == [200] * WAITING
    assert suite.pid("gateway") != killed.pid
    early.close()
    await early.wait_closed()


async def _write(session: aiohttp.ClientSession, content: dict[str, Any], number: int) -> int:
    writer = Writer(SOURCE_WHATSAPP, "+5511900006666", "Paula", content["chatwoot"]["account_id"], 21)
    body = orjson.dumps(flat_message(writer, 899_000_002, 898_000_000_000 + number, f"{number}", datetime.now(UTC)))
    headers = signed_request(body, content["chatwoot"]["webhook_secret"], secrets.token_hex(8), int(time.time()))
    async with session.post(content["chatwoot"]["webhook_url"], data=body, headers=headers) as answer:
        return answer.status
