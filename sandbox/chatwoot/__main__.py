"""Runs the fake as a process: `python -m sandbox.chatwoot --port 3100 --webhook-url … --webhook-secret …`.

Every option can come from the environment as PROSA_SANDBOX_<NAME>. Logs are JSON lines on standard output and
name no message's text and no secret. SIGTERM and Ctrl-C send what is queued, then stop.
"""

import asyncio
import json
import signal
import sys
from datetime import UTC, datetime

from aiohttp import web
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict

from sandbox.chatwoot.app import make_app, set_up_account
from sandbox.chatwoot.control import BACKGROUND
from sandbox.chatwoot.faults import Faults
from sandbox.chatwoot.records import EVENTS
from sandbox.chatwoot.sender import IN_FLIGHT_MAX, Outcome, Pace, Sender
from sandbox.chatwoot.traffic import CONVERSATION_COUNT, DURATION_SECONDS, Traffic, play
from sandbox.chatwoot.world import World

SHUTDOWN_SECONDS = 2.0


class Config(BaseSettings):
    """The options of the process."""

    model_config = SettingsConfigDict(
        env_prefix="PROSA_SANDBOX_",
        frozen=True,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_prog_name="sandbox.chatwoot",
    )

    host: str = "127.0.0.1"
    port: int = Field(0, ge=0, le=65535, description="0 takes a free one; the ready line names it")
    webhook_url: str | None = Field(None, description="where events go; more can be added over REST")
    webhook_secret: SecretStr | None = Field(None, description="better given in the environment")
    access_token: SecretStr | None = Field(None, description="the administrator's REST token")
    account_id: int = Field(1, ge=1)
    account_name: str = "Escola Ipê Idiomas"
    whatsapp_inbox_id: int = Field(1, ge=1)
    instagram_inbox_id: int = Field(2, ge=1)
    evolution_inbox_id: int | None = Field(None, ge=1)
    seed: int = 1
    first_id: int = Field(1, ge=1, description="where ids of contacts, conversations and messages begin")
    build_late: bool = Field(False, description="build bodies when they are sent, as Chatwoot's background job does")
    pace: float | None = Field(None, gt=0, description="webhooks per second, open loop; as they come without it")
    ordered: bool = Field(False, description="the next event of a conversation waits for the answer to the last")
    attempts: int = Field(1, ge=1, le=1000, description="Chatwoot itself tries once")
    in_flight_max: int = Field(IN_FLIGHT_MAX, ge=1, le=1000)
    traffic: bool = Field(False, description="let the demo's conversations arrive at once")
    traffic_conversations: int = Field(CONVERSATION_COUNT, ge=1, le=5000)
    traffic_seconds: float = Field(DURATION_SECONDS, ge=0, le=3600)


def log(event: str, **fields: object) -> None:
    """One JSON line."""
    line = {"time": _now().isoformat(timespec="milliseconds"), "service": "sandbox.chatwoot", "event": event}
    sys.stdout.write(json.dumps(line | fields, ensure_ascii=False) + "\n")
    sys.stdout.flush()


async def run(config: Config) -> None:
    """Serves until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    world = World(
        _now,
        seed=config.seed,
        account_id=config.account_id,
        account_name=config.account_name,
        build_late=config.build_late,
        first_id=config.first_id,
    )
    set_up_account(
        world,
        whatsapp_inbox_id=config.whatsapp_inbox_id,
        instagram_inbox_id=config.instagram_inbox_id,
        evolution_inbox_id=config.evolution_inbox_id,
        access_token=_plain(config.access_token),
    )
    if config.webhook_url is not None:
        world.setup.add_webhook(config.webhook_url, secret=_plain(config.webhook_secret), subscriptions=EVENTS)
    faults = Faults(config.seed)
    sender = Sender(
        world.setup,
        faults,
        now=_now,
        seed=config.seed,
        pace=None if config.pace is None else Pace(config.pace),
        ordered=config.ordered,
        in_flight_max=config.in_flight_max,
        attempt_count_max=config.attempts,
    )
    sender.watch(_log_failure)
    app = make_app(world, sender, faults)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    site = web.TCPSite(runner, config.host, config.port)
    await site.start()
    port = runner.addresses[0][1]
    inboxes = {row.channel: row.id for row in world.setup.inboxes.values()}
    log("ready", url=f"http://{config.host}:{port}", port=port, account_id=world.account.id, inboxes=inboxes)
    if config.traffic:
        steps = Traffic(
            config.seed, conversation_count=config.traffic_conversations, duration_seconds=config.traffic_seconds
        ).steps()
        log("traffic_started", steps=len(steps), seconds=config.traffic_seconds)
        task = asyncio.create_task(play(world, steps))
        app[BACKGROUND].add(task)
        task.add_done_callback(_log_traffic_end)
    await stop.wait()
    log("stopping")
    await runner.cleanup()
    log("stopped", **sender.summary())


def _now() -> datetime:
    return datetime.now(UTC)


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _log_failure(outcome: Outcome) -> None:
    if not outcome.accepted:
        event = outcome.delivery.event
        log("delivery_failed", name=event.name, status=outcome.status, error=outcome.error)


def _log_traffic_end(task: "asyncio.Task[int]") -> None:
    if task.cancelled():
        return
    if (broken := task.exception()) is not None:
        log("traffic_broken", error=repr(broken))
    else:
        log("traffic_ended", steps=task.result())


if __name__ == "__main__":
    asyncio.run(run(CliApp.run(Config)))
