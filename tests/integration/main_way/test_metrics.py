"""Figures over REST, of what came as webhooks: seven days and the hours of a week, in the organization's time zone."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from prosa.identity.v1 import access_service_pb2 as access_pb
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub
from tests.harness import Harness, changed, sample

INCOMING, OUTGOING = "message_created.whatsapp_cloud.incoming", "message_created.whatsapp_cloud.outgoing_agent"
FIRST_ID = 880_000
HOURS_APART = 7


def bodies(now: datetime) -> list[dict[str, Any]]:
    """Messages of eight days, of the contact and of the staff by turns, the newest first."""
    made = []
    for number in range(8 * 24 // HOURS_APART):
        moment = now - timedelta(hours=HOURS_APART * number)
        body = sample(INCOMING if number % 3 else OUTGOING)
        made.append(changed(body, id=FIRST_ID + number, content=f"Dia {number}", created_at=moment.isoformat()))
    return made


async def counted_by_sql(harness: Harness, zone: str) -> tuple[list[dict[str, Any]], dict[tuple[int, int], int]]:
    """The last seven days, and the hours of them, as PostgreSQL counts them from the messages."""
    days = await harness.world.rows(
        """
        select day::date::text as date, count(*) filter (where direction = 'INBOUND') as inbound,
          count(*) filter (where direction = 'OUTBOUND') as outbound
        from generate_series((now() at time zone %s)::date - 6, (now() at time zone %s)::date, interval '1 day') day
        left join conversation.messages on organization_id = %s and (create_time at time zone %s)::date = day::date
        group by day order by day
        """,
        *(zone, zone, harness.organization_id, zone),
    )
    hours = await harness.world.rows(
        """
        select extract(isodow from create_time at time zone %s)::int as weekday,
          extract(hour from create_time at time zone %s)::int as hour, count(*) as found
        from conversation.messages where organization_id = %s
        and (create_time at time zone %s)::date > (now() at time zone %s)::date - 7 group by 1, 2
        """,
        *(zone, zone, harness.organization_id, zone, zone),
    )
    return days, {(row["weekday"], row["hour"]): row["found"] for row in hours}


async def check(harness: Harness, zone: str, **query: str) -> None:
    """That both figures are what SQL counts."""
    days, hours = await counted_by_sql(harness, zone)
    status, per_day = await harness.get("/api/v1/metrics/messages-per-day", **query)
    assert (status, per_day["time_zone"]) == (200, zone), per_day
    assert [(day["date"], int(day["inbound_count"]), int(day["outbound_count"])) for day in per_day["days"]] == [
        (day["date"], day["inbound"], day["outbound"]) for day in days
    ]
    assert all(day["inbound_count"] or day["outbound_count"] for day in per_day["days"]), "each day has a bar"
    status, heatmap = await harness.get("/api/v1/metrics/hour-heatmap", **query)
    assert (status, len(heatmap["cells"])) == (200, 7 * 24)
    cells = {(cell["weekday"], cell["hour"]): int(cell["count"]) for cell in heatmap["cells"]}
    assert {place: count for place, count in cells.items() if count} == hours
    assert int(heatmap["count_max"]) == max(hours.values())


@pytest.mark.timeout(600)
async def test_figures_are_what_sql_counts_also_of_what_came_twice(harness: Harness) -> None:
    told = bodies(harness.world.clock.now())
    rows = [await harness.deliver(body) for body in told]
    assert {row["state"] for row in rows} == {"PROCESSED"}, rows
    # The same again under other delivery ids, and one replayed by hand.
    for body in told[:3]:
        await harness.deliver(body)
    await harness.send(f"/api/v1/webhook-events/{rows[0]['id']}:replay", {})
    await harness.done(str(rows[0]["id"]))
    assert await harness.count("conversation.messages") == len(told)
    await check(harness, "America/Sao_Paulo")
    await check(harness, "Asia/Kolkata", time_zone="Asia/Kolkata")
    access = harness.world.as_service("cli", harness.organization_id).stub(AccessServiceStub)
    etag = (await access.GetOrganization(access_pb.GetOrganizationRequest())).etag
    await (
        harness.world.as_user(harness.organization_id)
        .stub(AccessServiceStub)
        .UpdateOrganization(access_pb.UpdateOrganizationRequest(time_zone="Asia/Kathmandu", etag=etag))
    )
    await harness.world.until(
        "select 1 from conversation.organization_profiles where organization_id = %s and time_zone = %s",
        *(harness.organization_id, "Asia/Kathmandu"),
    )
    await check(harness, "Asia/Kathmandu")


async def test_what_cannot_be_asked_is_refused_with_its_reason(harness: Harness) -> None:
    status, problem = await harness.get("/api/v1/metrics/messages-per-day", time_zone="America/Nowhere")
    assert (status, problem["reason"]) == (400, "TIME_ZONE_INVALID")
    for query in ({"day_count": "93"}, {"day_count": "-1"}, {"channel_id": "one"}):
        status, problem = await harness.get("/api/v1/metrics/messages-per-day", **query)
        assert status == 400, problem
    status, problem = await harness.get("/api/v1/metrics/hour-heatmap", direction="9")
    assert status == 400, problem
    zone = ZoneInfo("America/Sao_Paulo")
    status, answer = await harness.get("/api/v1/metrics/messages-per-day", day_count="1")
    today = harness.world.clock.now().astimezone(zone).date().isoformat()
    assert (status, answer["days"][0]["date"]) == (200, today)
