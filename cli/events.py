"""`prosa events`: webhook events as they were stored, and processing them again."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from chassis.enums import enum_text
from cli.calls import CALL_SECONDS, Calls, all_pages, open_calls
from cli.choosing import Org
from cli.connections import find_connection
from cli.failures import RED, REFUSED, Refused, operation
from cli.organizations import find_organization
from cli.output import Json, number_of, print_fields, print_json, print_line, print_rows
from prosa.ingest.v1 import webhook_event_service_pb2 as pb
from prosa.ingest.v1.webhook_event_service_pb2_grpc import WebhookEventServiceStub

app = typer.Typer(help="Webhook events: what arrived and what became of it.", no_args_is_help=True)

LIST_LIMIT = 50
REPLAY_SECONDS = 60.0
POLL_SECONDS = 0.1
COUNTED_EVENTS_MAX = 10_000
_SPAN = re.compile(r"(?P<count>[0-9]{1,6})(?P<unit>[smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_RESULTS = ("contact_id", "conversation_id", "deal_id", "message_id")
_COLUMNS = ("receive_time", "webhook_event_id", "state", "event", "reason", "attempt_count")

State = Annotated[str, typer.Option(help="pending, processed, ignored or dead-letter.")]
Since = Annotated[str, typer.Option(help="How long ago, such as 10m, 2h, 3d, or a time such as 2026-05-13T12:00:00Z.")]
Reason = Annotated[str, typer.Option(help="Only events with this reason.")]
Connection = Annotated[str, typer.Option(help="Only events of this connection, by id or name.")]


def parse_since(text: str, now: datetime) -> datetime:
    """A moment from `10m`, `2h`, `3d` or an ISO time. Raises Refused for anything else."""
    span = _SPAN.fullmatch(text)
    if span is not None:
        try:
            return now - timedelta(**{_UNITS[span["unit"]]: int(span["count"])})
        except OverflowError:
            raise Refused(f"--since {text!r} lies before all calendars.", exit_code=REFUSED) from None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(
            f"--since {text!r} is no time. Write 10m, 2h, 3d or a time such as 2026-05-13T12:00:00Z.",
            exit_code=REFUSED,
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse_state(text: str) -> pb.WebhookEventState.ValueType:
    """The state of a word; unspecified for none. Raises Refused naming the words there are."""
    if not text:
        return pb.WEBHOOK_EVENT_STATE_UNSPECIFIED
    name = f"WEBHOOK_EVENT_STATE_{text.upper().replace('-', '_')}"
    if name not in pb.WebhookEventState.keys():  # noqa: SIM118 an enum wrapper is no dict
        raise Refused(f"--state {text!r} is none of pending, processed, ignored, dead-letter.", exit_code=REFUSED)
    return pb.WebhookEventState.Value(name)


def state_name(state: pb.WebhookEventState.ValueType) -> str:
    """The state as it is printed."""
    return enum_text(pb.WebhookEventState, state)


def event_row(item: pb.WebhookEvent) -> dict[str, Any]:
    """An event as it is printed, without its body."""
    return {
        "webhook_event_id": item.webhook_event_id,
        "connection_id": item.connection_id,
        "event": item.event,
        "state": state_name(item.state),
        "reason": item.reason or None,
        "detail": item.detail or None,
        "explanation": item.explanation or None,
        "attempt_count": item.attempt_count,
        "receive_time": item.receive_time.ToJsonString(),
        "process_time": item.process_time.ToJsonString() if item.HasField("process_time") else None,
        "contact_id": item.contact_id or None,
        "conversation_id": item.conversation_id or None,
        "deal_id": item.deal_id or None,
        "message_id": item.message_id or None,
    }


@app.command("list")
@operation
async def list_(
    org: Org,
    state: State = "",
    since: Since = "",
    reason: Reason = "",
    connection: Connection = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = LIST_LIMIT,
    as_json: Json = False,
) -> None:
    """List events, newest first."""
    request = pb.ListWebhookEventsRequest(state=parse_state(state), reason=reason.upper())
    if since:
        request.start_time.FromDatetime(parse_since(since, datetime.now(UTC)))
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        request.connection_id = await _connection_id(calls, organization.organization_id, connection)
        stub = calls.stub(WebhookEventServiceStub, "ingest")
        metadata = calls.organization(organization.organization_id)
        found = await all_pages(stub.ListWebhookEvents, request, "webhook_events", limit, metadata=metadata)
    rows = [event_row(item) for item in found]
    if as_json:
        print_json({"webhook_events": rows})
    else:
        print_rows(rows, _COLUMNS, empty="No events.")


@app.command("show")
@operation
async def show(
    webhook_event_id: Annotated[str, typer.Argument(help="The event's id.")], org: Org, as_json: Json = False
) -> None:
    """Show one event with its body, whose secrets are blank."""
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        found = await calls.stub(WebhookEventServiceStub, "ingest").GetWebhookEvent(
            pb.GetWebhookEventRequest(webhook_event_id=webhook_event_id),
            metadata=calls.organization(organization.organization_id),
            timeout=CALL_SECONDS,
        )
    row = event_row(found)
    body = found.body_text or f"({len(found.body)} bytes that are no text)"
    if as_json:
        print_json(row | {"body": body})
        return
    print_fields(row)
    print_line()
    print_line(body)


@app.command("replay")
@operation
async def replay(
    org: Org,
    webhook_event_id: Annotated[str, typer.Argument(help="One event; without it a range is meant.")] = "",
    since: Since = "",
    until: Annotated[str, typer.Option(help="The end of the range, as --since; now without it.")] = "",
    state: State = "",
    reason: Reason = "",
    connection: Connection = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Process one event again, or the dead letters of a range. The same events make the same rows, never others."""
    if bool(webhook_event_id) == bool(since):
        raise Refused("Name one event, or a range: `prosa events replay --since 10m`.", exit_code=REFUSED)
    async with open_calls() as calls:
        if webhook_event_id:
            await _replay_one(calls, webhook_event_id, org, as_json=as_json)
            return
        now = datetime.now(UTC)
        request = pb.ReplayWebhookEventsRequest(state=parse_state(state), reason=reason.upper())
        request.start_time.FromDatetime(parse_since(since, now))
        # Fixed now, so that the run takes what the count showed and nothing that came since.
        request.end_time.FromDatetime(parse_since(until, now) if until else now)
        organization_id = (await find_organization(calls, org)).organization_id
        request.connection_id = await _connection_id(calls, organization_id, connection)
        await _replay_range(calls, request, organization_id, dry_run=dry_run, ask=not yes, as_json=as_json)


async def _connection_id(calls: Calls, organization_id: str, wanted: str) -> str:
    """The id of the connection that is named; none where none is."""
    return (await find_connection(calls, organization_id, wanted)).connection_id if wanted else ""


async def _replay_one(calls: Calls, webhook_event_id: str, org: str, *, as_json: bool) -> None:
    """Puts the event back, waits for its processing and says whether it led to the same rows."""
    organization_id = (await find_organization(calls, org)).organization_id
    stub = calls.stub(WebhookEventServiceStub, "ingest")

    async def look() -> pb.WebhookEvent:
        return await stub.GetWebhookEvent(
            pb.GetWebhookEventRequest(webhook_event_id=webhook_event_id),
            metadata=calls.organization(organization_id),
            timeout=CALL_SECONDS,
        )

    before = event_row(await look())
    await stub.ReplayWebhookEvent(
        pb.ReplayWebhookEventRequest(webhook_event_id=webhook_event_id),
        metadata=calls.organization(organization_id),
        timeout=CALL_SECONDS,
    )
    deadline = time.monotonic() + REPLAY_SECONDS
    while (after := await look()).state == pb.WEBHOOK_EVENT_STATE_PENDING:
        if time.monotonic() > deadline:
            raise Refused(
                f"The event waits still, after {REPLAY_SECONDS:g} s: {after.detail or 'nobody has tried it'}.",
                reason="REPLAY_UNFINISHED",
            )
        await asyncio.sleep(POLL_SECONDS)
    row = event_row(after)
    # What had no outcome before, such as a dead letter, can only gain by it.
    changed = [name for name in _RESULTS if before[name] is not None and row[name] != before[name]]
    if as_json:
        print_json(row | {"same_result": not changed})
    else:
        print_fields(row)
        print_line(f"Changed: {', '.join(changed)}" if changed else "The same result as before.")
    if changed or after.state == pb.WEBHOOK_EVENT_STATE_DEAD_LETTER:
        raise typer.Exit(RED)


async def _replay_range(
    calls: Calls,
    request: pb.ReplayWebhookEventsRequest,
    organization_id: str,
    *,
    dry_run: bool,
    ask: bool,
    as_json: bool,
) -> None:
    stub = calls.stub(WebhookEventServiceStub, "ingest")
    metadata = calls.organization(organization_id)
    request.dry_run = True
    counted = await stub.ReplayWebhookEvents(request, metadata=metadata, timeout=REPLAY_SECONDS)
    if not as_json:
        _print_groups(counted)
    if dry_run or not counted.matched_count:
        if as_json:
            print_json(_range_content(counted) | ({} if dry_run else {"outcomes": {}}))
        return
    if ask:
        if as_json:
            raise Refused("With --json nobody can be asked: add --yes, or --dry-run to count.", exit_code=REFUSED)
        typer.confirm(f"Process {number_of(counted.matched_count, 'event')} again?", abort=True)
    request.dry_run = False
    meant = request.state or pb.WEBHOOK_EVENT_STATE_DEAD_LETTER
    chosen = {
        item.webhook_event_id for item in await _list_range(calls, request, organization_id, meant, request.reason)
    }
    replayed = await stub.ReplayWebhookEvents(request, metadata=metadata, timeout=REPLAY_SECONDS)
    states = await _outcomes(calls, request, organization_id, chosen)
    if as_json:
        print_json(_range_content(replayed) | {"outcomes": states})
    else:
        told = ", ".join(f"{count} {state.lower().replace('_', ' ')}" for state, count in sorted(states.items()))
        were = "was" if replayed.replayed_count == 1 else "were"
        print_line(f"{number_of(replayed.replayed_count, 'event')} {were} put back: {told or 'none'}.")
    if "PENDING" in states:
        raise Refused(
            f"Still to be processed after {REPLAY_SECONDS:g} s: {number_of(states['PENDING'], 'event')}. Look again "
            "with `prosa events list --state pending`.",
            reason="REPLAY_UNFINISHED",
        )


async def _list_range(
    calls: Calls,
    request: pb.ReplayWebhookEventsRequest,
    organization_id: str,
    state: pb.WebhookEventState.ValueType = pb.WEBHOOK_EVENT_STATE_UNSPECIFIED,
    reason: str = "",
) -> list[pb.WebhookEvent]:
    """The events of a replay's range, in any state or in one."""
    wanted = pb.ListWebhookEventsRequest(
        state=state,
        start_time=request.start_time,
        end_time=request.end_time,
        connection_id=request.connection_id,
        reason=reason,
    )
    stub = calls.stub(WebhookEventServiceStub, "ingest")
    metadata = calls.organization(organization_id)
    return await all_pages(stub.ListWebhookEvents, wanted, "webhook_events", COUNTED_EVENTS_MAX, metadata=metadata)


async def _outcomes(
    calls: Calls, request: pb.ReplayWebhookEventsRequest, organization_id: str, chosen: Collection[str]
) -> dict[str, int]:
    """How many of the chosen events are in which state, once none of them waits any more or it takes too long."""
    deadline = time.monotonic() + REPLAY_SECONDS
    while True:
        found = await _list_range(calls, request, organization_id)
        states = Counter(state_name(item.state) for item in found if item.webhook_event_id in chosen)
        if "PENDING" not in states or time.monotonic() > deadline:
            return dict(states)
        await asyncio.sleep(POLL_SECONDS)


def _print_groups(counted: pb.ReplayWebhookEventsResponse) -> None:
    rows = [
        {"state": state_name(group.state), "reason": group.reason, "count": group.count} for group in counted.groups
    ]
    print_rows(rows, ["state", "reason", "count"], empty="No event matches.")


def _range_content(response: pb.ReplayWebhookEventsResponse) -> dict[str, Any]:
    return {
        "matched_count": response.matched_count,
        "replayed_count": response.replayed_count,
        "groups": [
            {"state": state_name(group.state), "reason": group.reason, "count": group.count}
            for group in response.groups
        ],
    }
