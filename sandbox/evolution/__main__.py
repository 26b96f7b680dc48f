"""Runs the fake as a process: `python -m sandbox.evolution --port 3200`.

Every option can come from the environment as PROSA_SANDBOX_EVOLUTION_<NAME>. SIGTERM and Ctrl-C stop it.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from datetime import UTC, datetime

from aiohttp import web
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict

from sandbox.evolution.app import make_app
from sandbox.evolution.faults import Faults
from sandbox.evolution.people import keep_writing
from sandbox.evolution.sender import FIRST_WAIT_SECONDS, Sender
from sandbox.evolution.world import QR_SECONDS, Pace, World

SHUTDOWN_SECONDS = 2.0


class Config(BaseSettings):
    """The options of the process."""

    model_config = SettingsConfigDict(
        env_prefix="PROSA_SANDBOX_EVOLUTION_", frozen=True, cli_kebab_case=True, cli_prog_name="sandbox.evolution"
    )

    host: str = "127.0.0.1"
    port: int = Field(0, ge=0, le=65535, description="0 takes a free one; the ready line names it")
    global_key: SecretStr = Field(SecretStr("sandbox-evolution-key"), description="better given in the environment")
    scan_seconds: float = Field(3.0, ge=0, description="when the phone scans the code")
    qr_seconds: float = Field(QR_SECONDS, gt=0)
    first_wait_seconds: float = Field(FIRST_WAIT_SECONDS, gt=0, description="before a webhook's second try")
    people_seconds: float = Field(0, ge=0, description="how often somebody writes to a connected number; 0: nobody")
    seed: int = 1


async def run(config: Config) -> None:
    """Serves until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    faults = Faults()
    sender = Sender(faults, first_wait_seconds=config.first_wait_seconds)
    pace = Pace(scan_seconds=config.scan_seconds, qr_seconds=config.qr_seconds)
    world = World(sender, lambda: datetime.now(UTC), pace, config.seed)
    if config.people_seconds:
        pace.opened = lambda instance: sender.spawn(keep_writing(world, instance, config.people_seconds))
    runner = web.AppRunner(
        make_app(world, faults, config.global_key.get_secret_value()),
        access_log=None,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    await runner.setup()
    await web.TCPSite(runner, config.host, config.port).start()
    port = runner.addresses[0][1]
    _log("ready", url=f"http://{config.host}:{port}", port=port)
    await stop.wait()
    await runner.cleanup()
    _log("stopped", sent=len(world.sent), statuses={str(status): count for status, count in sender.statuses.items()})


def _log(event: str, **fields: object) -> None:
    line = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "service": "sandbox.evolution",
        "event": event,
    }
    sys.stdout.write(json.dumps(line | fields, ensure_ascii=False) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(run(CliApp.run(Config)))
