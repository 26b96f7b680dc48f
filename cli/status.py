"""`prosa status`: what runs and since when, whether it is ready, what waits and what is dead."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import grpc
import grpc.aio
import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from chassis.rpc import CHANNEL_OPTIONS
from cli.calls import CALL_SECONDS, Calls, nothing_runs, open_calls, service_addresses
from cli.events import state_name
from cli.failures import RED, Refused, describe, operation
from cli.home import home_directory, read_bootstrap
from cli.organizations import list_organizations
from cli.output import Json, number_of, print_json, print_line, print_rows, said_time
from prosa.identity.v1 import access_service_pb2 as access
from prosa.ingest.v1 import webhook_event_service_pb2 as pb
from prosa.ingest.v1.webhook_event_service_pb2_grpc import WebhookEventServiceStub

LOOK_SECONDS = 5.0
ORGANIZATIONS_MAX = 100
"""So many organizations are asked for their dead letters; beyond, the metric and `prosa events list` tell."""
DEAD_SINCE = timedelta(days=60)
"""Longer than dead letters are kept."""
WAITING = "prosa_queue_waiting"
OLDEST = "prosa_queue_oldest_seconds"
WEBHOOKS = "ingest.webhook_queue"
NO_METRICS = "not known: PROSA_METRICS_URL names no /metrics of ingest"

Content = dict[str, Any]


@operation
async def status(as_json: Json = False) -> None:
    """Say what runs and since when, whether it is ready, what waits and what is dead. Fails when one is not ready."""
    bootstrap = read_bootstrap()
    named = os.environ.get("PROSA_GRPC_ADDRESS")
    if not bootstrap and not named and not service_addresses(os.environ):
        raise nothing_runs(os.environ)
    here = bool(bootstrap) and not named
    metrics_url = os.environ.get("PROSA_METRICS_URL") or (bootstrap.get("metrics_url", "") if here else "")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LOOK_SECONDS)) as session:
        if here:
            processes = await _processes(session, metrics_url)
        else:
            processes = [await _served(address, services) for address, services in _addresses().items()]
        waiting = await _waiting(session, metrics_url)
    ready = bool(processes) and all(_well(process) for process in processes)
    dead, unknown = await _dead_letters() if ready or not here else (None, "not all is ready")
    content = {
        "ready": ready,
        "home": str(home_directory()) if here else None,
        "url": bootstrap.get("url") if here else None,
        "processes": processes,
        "waiting": waiting,
        "dead_letters": dead,
    }
    if as_json:
        print_json(content)
    else:
        _print(content, unknown)
    if not ready:
        raise typer.Exit(RED)


async def _processes(session: aiohttp.ClientSession, metrics_url: str) -> list[Content]:
    """What the supervisor of this home says; nothing where it has just gone."""
    try:
        async with session.get(metrics_url.removesuffix("/metrics") + "/status") as told:
            found: list[Content] = (await told.json())["processes"]
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError):
        return []
    now = datetime.now(UTC)
    for process in found:
        process["start_time"] = (
            (now - timedelta(seconds=process["uptime_seconds"])).isoformat(timespec="seconds")
            if process["pid"] is not None
            else None
        )
    return found


def _addresses() -> dict[str, list[str]]:
    """The addresses that variables name, each with the services that are dialled there."""
    found: dict[str, list[str]] = {}
    if anywhere := os.environ.get("PROSA_GRPC_ADDRESS"):
        found[anywhere] = []
    for service, address in service_addresses(os.environ).items():
        found.setdefault(address, []).append(service)
    return found


async def _served(address: str, services: Sequence[str]) -> Content:
    """Whether what listens on the address says that it serves."""
    name = f"{address} ({', '.join(services)})" if services else address
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            told = await stub.Check(health_pb2.HealthCheckRequest(), timeout=LOOK_SECONDS)
            serving = told.status == health_pb2.HealthCheckResponse.SERVING
            state = "ready" if serving else "stopping"
        except grpc.aio.AioRpcError as error:
            serving, state = False, f"away: {error.code().name}"
    return {"name": name, "state": state, "ready": serving, "dependencies": {}}


def _well(process: Mapping[str, Any]) -> bool:
    return process["state"] == "ready" and process.get("ready") is not False


async def _waiting(session: aiohttp.ClientSession, metrics_url: str) -> Content | None:
    """How many webhooks wait to be processed, and for how long the oldest has; None where metrics are out of reach."""
    if not metrics_url:
        return None
    try:
        async with session.get(metrics_url) as told:
            page = await told.text()
    except (aiohttp.ClientError, TimeoutError):
        return None
    seen: dict[str, list[float]] = {WAITING: [], OLDEST: []}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name in seen and sample.labels.get("queue") == WEBHOOKS:
                seen[sample.name].append(sample.value)
    if not seen[WAITING]:
        return None
    # Every process that runs ingest looks at the same queue.
    return {"count": int(max(seen[WAITING])), "oldest_seconds": round(max(seen[OLDEST], default=0.0), 1)}


async def _dead_letters() -> tuple[list[Content] | None, str]:
    """By organization and reason; None, and a sentence, where the services cannot be asked now."""
    found: list[Content] = []
    try:
        async with open_calls() as calls:
            for organization in (await list_organizations(calls))[:ORGANIZATIONS_MAX]:
                found += await _dead_letters_of(calls, organization)
    except (Refused, grpc.aio.AioRpcError) as error:
        # What runs is told all the same, and the exit code says that not all is well.
        return None, describe(error)[1]
    return found, ""


async def _dead_letters_of(calls: Calls, organization: access.Organization) -> list[Content]:
    request = pb.ReplayWebhookEventsRequest(state=pb.WEBHOOK_EVENT_STATE_DEAD_LETTER, dry_run=True)
    request.start_time.FromDatetime(datetime.now(UTC) - DEAD_SINCE)
    counted = await calls.stub(WebhookEventServiceStub, "ingest").ReplayWebhookEvents(
        request, metadata=calls.organization(organization.organization_id), timeout=CALL_SECONDS
    )
    return [
        {
            "organization_id": organization.organization_id,
            "organization": organization.name,
            "state": state_name(group.state),
            "reason": group.reason,
            "count": group.count,
        }
        for group in counted.groups
    ]


def _print(content: Mapping[str, Any], unknown: str) -> None:
    if content["home"]:
        print_line(f"Home   {content['home']}")
        print_line(f"URL    {content['url']}")
        print_line()
    if not content["processes"]:
        print_line("`prosa up` does not answer: it is just starting or stopping, or was killed. Start it again.")
    rows = [
        {
            "process": process["name"],
            "state": "ready" if _well(process) else "not ready" if process["state"] == "ready" else process["state"],
            "since": said_time(process.get("start_time") or ""),
            "restarts": process.get("restart_count"),
        }
        for process in content["processes"]
    ]
    print_rows(rows, ["process", "state", *(["since", "restarts"] if content["home"] else [])], empty="")
    for process in content["processes"]:
        for name, seen in process["dependencies"].items():
            if seen != "ok":
                print_line(f"  {process['name']}: {name}: {seen}")
    print_line()
    waiting, dead = content["waiting"], content["dead_letters"]
    if waiting is None:
        print_line(f"Waiting       {NO_METRICS}")
    else:
        oldest = f", the oldest for {waiting['oldest_seconds']:g} s" if waiting["count"] else ""
        print_line(f"Waiting       {number_of(waiting['count'], 'webhook event')}{oldest}")
    if dead is None:
        print_line(f"Dead letters  not known now: {unknown}")
        return
    print_line(f"Dead letters  {sum(group['count'] for group in dead)}")
    if dead:
        print_rows(dead, ["organization", "reason", "count"])
        print_line("Why each: `prosa events list --state dead-letter --org NAME`.")
    print_line()
    print_line("All is ready." if content["ready"] else "Not all is ready.")
