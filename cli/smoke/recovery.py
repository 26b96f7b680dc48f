"""The fifth scenario: wrong secret, provider down, an event that nobody can process; seen, mended, replayed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cli.smoke.bodies import Body, Writer, flat_conversation, flat_message
from cli.smoke.scenarios import CLOCKS_APART, Row, Run, settled
from cli.smoke.target import Failed, said
from prosa.v1.options_pb2 import SOURCE_WHATSAPP

EVENT_COUNT = 20
BROKEN_REASON = "NO_VALID_IDENTITY"
PAGE_SIZE = 250


async def recovery(run: Run) -> str:
    """Failures are seen where an operator looks, what was refused comes in once mended, a replay changes nothing."""
    seen = [await _wrong_secret(run), await _provider_down(run), await _dead_letter(run)]
    writer, conversation_id = run.whatsapp(), run.new_conversation_id()
    for body in _events(run, writer, conversation_id):
        await run.target.accept(body)
    await settled(run)
    link = await run.link(conversation_id)
    before = await _messages(run, link)
    if len(before) != EVENT_COUNT:
        raise Failed(f"{len(before)} messages after the recovery, {EVENT_COUNT} are right")
    seen.append(await _replay(run, link, before))
    return "; ".join(part for part in seen if part)


def _events(run: Run, writer: Writer, conversation_id: int) -> list[Body]:
    return [
        flat_message(
            writer,
            conversation_id,
            run.message_id(conversation_id, number),
            f"Mensagem {number}",
            datetime.now(UTC),
            unread_count=min(number, 10),
        )
        for number in range(1, EVENT_COUNT + 1)
    ]


async def _wrong_secret(run: Run) -> str:
    if not run.target.settings.webhook_secret:
        return "wrong secret not tried, because no secret is set"
    before = await run.target.counter("prosa_webhooks_total", outcome="unauthenticated")
    conversation_id = run.new_conversation_id()
    wrong = run.target.settings.wrong_secret
    for body in _events(run, run.whatsapp(), conversation_id):
        answer = await run.target.post(body, secret=wrong)
        if answer.status != 401:
            raise Failed(f"a wrong secret was answered {answer.status}, 401 is right: {said(answer.body)}")
    await settled(run)
    if await run.links(conversation_id):
        raise Failed("a refused event has left a row")
    if before is None:
        return f"wrong secret: {EVENT_COUNT} refused with 401"

    async def counted() -> float | None:
        after = await run.target.counter("prosa_webhooks_total", outcome="unauthenticated")
        return after if after is not None and after - before >= EVENT_COUNT else None

    await run.target.until(counted, "the refusals in the metrics")
    return f"wrong secret: {EVENT_COUNT} refused with 401 and counted"


async def _provider_down(run: Run) -> str:
    """Lets the fake's REST side fail: what a provider's outage looks like. A real provider is left alone."""
    connection = await _connection(run)
    base_url = str(connection["base_url"]).rstrip("/")
    if not base_url:
        return ""
    control = f"{base_url}/_sandbox/faults"
    if not base_url.startswith("http://127.0.0.1") or await run.target.control("GET", control) != 200:
        return "provider down not tried, because a real Chatwoot is connected"
    check = f"/api/v1/connections/{connection['connection_id']}:check"
    try:
        await run.target.control("POST", control, {"kind": "rest.error", "status": 503})
        down = await run.target.call(check, {})
    finally:
        await run.target.control("DELETE", f"{control}?kind=rest.error")
    if down["passed"]:
        raise Failed("the connection's check passes although the provider is down")
    up = await run.target.call(check, {})
    reachable = {item["name"]: item["passed"] for item in up["items"]}
    if not reachable.get("api_reachable"):
        raise Failed("the connection's check still fails although the provider is back")
    return "provider down: seen by the connection's check, and gone once it was back"


async def _connection(run: Run) -> Row:
    found = await run.target.get("/api/v1/connections", page_size=PAGE_SIZE)
    for connection in found["connections"]:
        if connection["account_id"] == run.target.settings.account_id:
            row: Row = connection
            return row
    raise Failed(f"no connection has the account {run.target.settings.account_id}")


async def _dead_letter(run: Run) -> str:
    nobody = Writer(SOURCE_WHATSAPP, "", "Smoke", run.target.settings.account_id, run.target.settings.whatsapp_inbox_id)
    await run.target.accept(flat_conversation(nobody, run.new_conversation_id(), datetime.now(UTC)))

    async def listed() -> list[Row] | None:
        found = await run.target.get(
            "/api/v1/webhook-events",
            state="DEAD_LETTER",
            reason=BROKEN_REASON,
            start_time=(run.begun - CLOCKS_APART).isoformat(),
            page_size=PAGE_SIZE,
        )
        return found["webhook_events"] or None

    await run.target.until(listed, "the dead letter")
    return f"an event without a valid identity: dead letter {BROKEN_REASON}, listed"


async def _replay(run: Run, link: Row, before: list[Any]) -> str:
    """Processes the events again, counted first; compares rows, ids and counters."""
    connection = await _connection(run)
    first, last = await _received(run, link)
    order = {
        "start_time": first.isoformat(),
        "end_time": (last + timedelta(milliseconds=1)).isoformat(),
        "state": "PROCESSED",
        "connection_id": connection["connection_id"],
    }
    counted = await run.target.call("/api/v1/webhook-events:replay", {**order, "dry_run": True})
    if counted["replayed_count"] != 0 or counted["matched_count"] < EVENT_COUNT:
        raise Failed(f"the dry run matched {counted['matched_count']} and replayed {counted['replayed_count']}")
    unread = (await run.links(link["chatwoot_conversation_id"]))[0]["unread_count"]
    replayed = await run.target.call("/api/v1/webhook-events:replay", order)
    if replayed["replayed_count"] < EVENT_COUNT:
        raise Failed(f"only {replayed['replayed_count']} events were replayed")
    await settled(run)
    after = await _messages(run, link)
    rows = await run.links(link["chatwoot_conversation_id"])
    if after != before or len(rows) != 1 or rows[0]["unread_count"] != unread:
        raise Failed(f"the replay made {len(after)} messages and {len(rows)} links of {len(before)} and 1")
    dead = await run.target.call(
        "/api/v1/webhook-events:replay",
        {
            "start_time": (run.begun - CLOCKS_APART).isoformat(),
            "reason": BROKEN_REASON,
            "state": "DEAD_LETTER",
            "dry_run": True,
        },
    )
    return (
        f"recovered: {EVENT_COUNT} accepted and processed; replay after a dry run: "
        f"{replayed['replayed_count']} processed, 0 duplicates ({dead['matched_count']} dead letters stay to be seen)"
    )


async def _received(run: Run, link: Row) -> tuple[datetime, datetime]:
    """When the first and the last event of a conversation arrived, by the installation's own clock."""
    found = await run.target.get(
        "/api/v1/webhook-events", state="PROCESSED", contact_id=str(link["contact_id"]), page_size=PAGE_SIZE
    )
    times = [
        datetime.fromisoformat(event["receive_time"])
        for event in found["webhook_events"]
        if event["conversation_id"] == str(link["id"])
    ]
    if len(times) != EVENT_COUNT:
        raise Failed(f"{len(times)} processed events of the conversation, {EVENT_COUNT} are right")
    return min(times), max(times)


async def _messages(run: Run, link: Row) -> list[Any]:
    found = await run.target.get(f"/api/v1/conversations/{link['id']}/messages", page_size=PAGE_SIZE)
    return sorted(message["message_id"] for message in found["messages"])
