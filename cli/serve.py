"""`prosa serve`: one or more modules in this process, until it is told to stop or a job of it fails."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from typing import Annotated

import structlog
import typer
import uvloop

from chassis import open_files, telemetry
from chassis.keys import KeysLost
from chassis.process import Host
from cli import streams
from cli.failures import RED, Refused, operation
from cli.serving_settings import read_settings

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
GC_THRESHOLDS = (20_000, 20, 50)
"""Requests allocate thousands of short-lived messages: with the default of 700 the collector runs all the time."""

logger = structlog.get_logger(__name__)


@operation
def serve(
    target: Annotated[str, typer.Option(help="all, or a comma separated list of targets.")] = "all",
) -> None:
    """Serve one or more modules against the servers that PROSA_* names."""
    streams.when_nobody_reads(streams.stop_in_order)
    uvloop.run(run(target))


async def run(target: str) -> None:
    """Starts the targets and waits for SIGTERM, SIGINT or the failure of a job. Raises Refused when a job failed."""
    # Every module of the system hangs on this one, which other commands do without.
    from services.targets import SETTINGS, chosen

    modules = chosen(target)
    settings = read_settings(modules, os.environ, SETTINGS)
    telemetry.configure_logging(settings.log_level, show_text=settings.log_text)
    open_files.warn_if_few(open_files.raise_open_files())
    traces = telemetry.configure_tracing(target, settings.otlp_endpoint)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stopping.set)
    host = Host(settings)
    asked = asyncio.create_task(stopping.wait())
    starting = asyncio.create_task(host.start(modules))
    try:
        await asyncio.wait({asked, starting}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            logger.info("stopped_while_starting")
            starting.cancel()
            await asyncio.wait({starting})
            # Jobs may be at work by now, with leases to give back; and whatever was opened is closed.
            await host.stop()
            return
        try:
            await starting
        except KeysLost as error:
            await host.stop()
            raise Refused(str(error), reason="KEYS_LOST") from error
        except Exception:
            logger.exception("start_failed")
            await host.stop()
            raise
        _spare_the_collector()
        failed = asyncio.create_task(host.failed())
        await asyncio.wait({asked, failed}, return_when=asyncio.FIRST_COMPLETED)
        await host.stop()
        if failed.done():
            # Its trace is in the log already.
            raise Refused(f"A background job failed: {failed.result()!r}", reason="JOB_FAILED", exit_code=RED)
        failed.cancel()
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)
        for task in (asked, starting):
            task.cancel()
        await asyncio.gather(asked, starting, return_exceptions=True)
        if traces is not None:
            await asyncio.to_thread(traces.shutdown)


def _spare_the_collector() -> None:
    """What was loaded by now stays for good: the collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
