"""The fake Chatwoot of the demo: a child process that begins once the organization it writes to is there."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import structlog

from cli.demo import seed, state
from cli.demo.state import DemoState
from embedded.child import ChildSpec
from embedded.errors import EmbeddedError
from embedded.ports import LOOPBACK
from embedded.shapes import source_path

NAME = "chatwoot"
PORT_NAME = "chatwoot"
IDS_PER_RUN = 1_000_000
RUN_COUNT_MAX = 900
"""The legacy views show ids of up to nine digits; after so many runs the first ids are long gone."""
FIRST_SECONDS, FIRST_CONVERSATIONS = 60.0, 36
LATER_SECONDS = 900.0
PEOPLE_SEED = 1
"""The same people every time: a second run shows how they are known again."""
CALL_SECONDS = 5.0
ATTEMPT_SECONDS = 0.5
STOP_SECONDS = 5.0

Seed = Callable[[], Awaitable[DemoState]]

logger = structlog.get_logger(__name__)


def child(home: Path, port: int, webhook_base_url: str, needs: Sequence[str], make: Seed) -> ChildSpec:
    """The process. Before each start the organization is made, or found, and a run of ids begun."""
    environment: dict[str, str] = {}

    async def prepare() -> None:
        try:
            made = await make()
        except Exception as error:
            # Whatever it is, the log has it whole and the terminal its first line.
            logger.exception("demo_not_made")
            raise EmbeddedError("DEMO_NOT_MADE", f"The demo's organization could not be made: {error}") from error
        begun = state.save(home, replace(made, run_count=made.run_count + 1))
        environment.clear()
        environment.update(child_environment(begun, webhook_base_url))

    return ChildSpec(
        name=NAME,
        command=(sys.executable, "-P", "-m", "sandbox.chatwoot", "--port", str(port)),
        environment=environment,
        prepare=prepare,
        ready=partial(answers, port),
        needs=tuple(needs),
        stop_timeout_seconds=STOP_SECONDS,
    )


def child_environment(begun: DemoState, webhook_base_url: str) -> dict[str, str]:
    """What the fake is told. Its secrets go by the environment, which other users cannot read."""
    run = begun.run_count % RUN_COUNT_MAX
    return {
        "PROSA_SANDBOX_WEBHOOK_URL": webhook_base_url + begun.webhook_path,
        "PROSA_SANDBOX_WEBHOOK_SECRET": begun.webhook_secret,
        "PROSA_SANDBOX_ACCESS_TOKEN": begun.access_token,
        "PROSA_SANDBOX_ACCOUNT_ID": str(seed.ACCOUNT_ID),
        "PROSA_SANDBOX_WHATSAPP_INBOX_ID": str(seed.WHATSAPP_INBOX_ID),
        "PROSA_SANDBOX_INSTAGRAM_INBOX_ID": str(seed.INSTAGRAM_INBOX_ID),
        "PROSA_SANDBOX_FIRST_ID": str(max(1, run * IDS_PER_RUN)),
        # Delivery ids are drawn from it: two runs must not send the same ones.
        "PROSA_SANDBOX_SEED": str(secrets.randbelow(2**31)),
        # The receiver answers 503 while it restarts; a demo should not lose its conversations to that.
        "PROSA_SANDBOX_ATTEMPTS": "20",
        "PYTHONPATH": source_path({}),
        "PYTHONUNBUFFERED": "1",
    }


async def answers(port: int) -> bool:
    """Says whether the fake answers; raises OSError while it does not listen."""
    _, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.close()
    return True


async def keep_writing(port: int) -> None:
    """Lets the conversations of the first minute arrive, then the same people write on slowly, for ever."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_SECONDS)) as session:
        seconds = FIRST_SECONDS
        while True:
            order = {"seed": PEOPLE_SEED, "seconds": seconds, "conversations": FIRST_CONVERSATIONS}
            await _post(session, f"http://{LOOPBACK}:{port}/_sandbox/traffic", order)
            await asyncio.sleep(seconds)
            seconds = LATER_SECONDS


async def _post(session: aiohttp.ClientSession, url: str, body: Mapping[str, Any]) -> None:
    while True:
        try:
            async with session.post(url, json=body) as answer:
                answer.raise_for_status()
                return
        except (aiohttp.ClientError, TimeoutError) as error:
            logger.info("fake_chatwoot_away", error=repr(error))
            await asyncio.sleep(ATTEMPT_SECONDS)
