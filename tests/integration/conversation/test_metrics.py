"""Figures are what SQL counts, whatever came twice, late, in pieces or side by side."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import grpc.aio
import pytest

from chassis.enums import enum_number
from prosa.conversation.v1 import conversation_service_pb2 as conversation_pb
from prosa.conversation.v1 import metric_service_pb2 as pb
from prosa.conversation.v1.metric_service_pb2_grpc import MetricServiceStub
from tests.integration.conversation.messages.reports import Reported, answered, batch, written
from tests.world import Act, World, error_info

TARGETS = ("conversation",)
SENT, FAILED = conversation_pb.MESSAGE_STATE_SENT, conversation_pb.MESSAGE_STATE_FAILED
DELIVERED = conversation_pb.MESSAGE_STATE_DELIVERED
ZONES = ("UTC", "America/Sao_Paulo", "Asia/Kolkata", "America/New_York", "Asia/Kathmandu")
COUNTED = """
select direction, count(*) as count, count(*) filter (where state = 'FAILED') as failed
from conversation.messages where organization_id = %s group by direction
"""
PARALLEL = 12


def at(moment: datetime, report: conversation_pb.MessageReport) -> conversation_pb.MessageReport:
    """The same, written at a moment."""
    report.create_time.FromDatetime(moment)
    return report


async def per_day(acting: Act, **asked: Any) -> list[tuple[str, int, int, int]]:
    """The days as figures tell them."""
    answer = await acting.stub(MetricServiceStub).GetMessagesPerDay(pb.GetMessagesPerDayRequest(**asked))
    return [(day.date, day.inbound_count, day.outbound_count, day.failed_count) for day in answer.days]


async def counted_by_sql(world: World, organization_id: UUID, zone: str, days: int) -> list[tuple[str, int, int, int]]:
    """The same days, counted from the messages themselves, by PostgreSQL's own time zones."""
    rows = await world.rows(
        """
        select day::date::text as day,
          count(*) filter (where direction = 'INBOUND') as inbound,
          count(*) filter (where direction = 'OUTBOUND') as outbound,
          count(*) filter (where direction = 'OUTBOUND' and messages.state = 'FAILED') as failed
        from generate_series(
          (now() at time zone %s)::date - %s::int, (now() at time zone %s)::date, interval '1 day') day
        left join conversation.messages on organization_id = %s and (create_time at time zone %s)::date = day::date
        group by day order by day
        """,
        *(zone, days - 1, zone, organization_id, zone),
    )
    return [(row["day"], row["inbound"], row["outbound"], row["failed"]) for row in rows]


async def mixed_days(world: World, organization_id: UUID) -> tuple[Reported, Reported]:
    """Two numbers' messages of ten days: new, told again, edited, failed, failed and delivered after all, deleted."""
    one, two = Reported(organization_id), Reported(organization_id, provider_conversation_id="392")
    now = datetime.now(UTC)
    items = []
    for number in range(40):
        moment = now - timedelta(hours=6 * number, minutes=7 * number)
        items.append(one.item(at(moment, written(f"in-{number}", f"Oi {number}"))))
        items.append(two.item(at(moment, answered(f"out-{number}", f"Olá {number}", state=SENT))))
    # The first ten once more beside what is new, and all of it once more as a replay.
    first = items + items[:10]
    await batch(world, *first[:60])
    await batch(world, *first[60:])
    await batch(world, *items[:50])

    def again(number: int, **changes: Any) -> conversation_pb.RecordItem:
        moment = now - timedelta(hours=6 * number, minutes=7 * number)
        return two.item(at(moment, answered(f"out-{number}", f"Olá {number}", **changes)))

    failing = [again(number, state=FAILED, error_message="131026") for number in (0, 1, 2, 20, 30)]
    # Failed twice in one batch, then in another; one is delivered after all, one within the batch that tells it failed.
    await batch(world, *failing, failing[0])
    await batch(world, *failing, again(1, state=DELIVERED))
    await batch(world, again(5, state=FAILED), again(5, state=DELIVERED), again(6, state=DELIVERED))
    await batch(world, again(6, state=FAILED), again(2, state=FAILED, deleted=True))
    # New, and failed when first told; new and failed within one batch; new, failed and delivered within one.
    late = [two.item(at(now, answered(f"late-{number}", state=FAILED if number == 0 else SENT))) for number in range(3)]
    later = [two.item(at(now, answered(f"late-{number}", state=FAILED))) for number in (1, 2)]
    await batch(world, *late, *later, two.item(at(now, answered("late-2", state=DELIVERED))))
    return one, two


@pytest.mark.parametrize("zone", ZONES)
async def test_days_are_what_sql_counts(world: World, organization_id: UUID, zone: str) -> None:
    one, two = await mixed_days(world, organization_id)
    owner = world.as_user(organization_id)
    for days in (7, 14):
        figures = await per_day(owner, time_zone=zone, day_count=days)
        assert figures == await counted_by_sql(world, organization_id, zone, days)
    assert sum(day[1] for day in figures) == 40
    assert sum(day[2] for day in figures) == 43
    # Four of five, the one that was failed from the start, and the one that failed in the batch that told it.
    assert sum(day[3] for day in figures) == 6
    of_one = await per_day(owner, time_zone=zone, day_count=14, channel_id=one.channel_id)
    of_two = await per_day(owner, time_zone=zone, day_count=14, channel_id=two.channel_id)
    assert [(date, inbound, 0, 0) for date, inbound, _, _ in figures] == of_one
    assert [(date, 0, outbound, failed) for date, _, outbound, failed in figures] == of_two


async def test_hours_are_what_sql_counts(world: World, organization_id: UUID) -> None:
    await mixed_days(world, organization_id)
    owner = world.as_user(organization_id)
    for zone in ZONES:
        for name in ("UNSPECIFIED", "INBOUND", "OUTBOUND"):
            direction = enum_number(conversation_pb.MessageDirection, name)
            answer = await owner.stub(MetricServiceStub).GetHourHeatmap(
                pb.GetHourHeatmapRequest(time_zone=zone, direction=direction)
            )
            expected = await world.rows(
                """
                select extract(isodow from create_time at time zone %s)::int as weekday,
                  extract(hour from create_time at time zone %s)::int as hour, count(*) as found
                from conversation.messages where organization_id = %s and direction like %s
                and (create_time at time zone %s)::date > (now() at time zone %s)::date - 7 group by 1, 2
                """,
                *(zone, zone, organization_id, "%" if name == "UNSPECIFIED" else name, zone, zone),
            )
            assert [(cell.weekday, cell.hour) for cell in answer.cells] == [
                (weekday, hour) for weekday in range(1, 8) for hour in range(24)
            ]
            found = {(cell.weekday, cell.hour): cell.count for cell in answer.cells if cell.count}
            assert found == {(row["weekday"], row["hour"]): row["found"] for row in expected}
            assert answer.count_max == max(found.values())


async def test_batches_side_by_side_lose_nothing_and_wait_for_nobody_in_a_circle(
    world: World, organization_id: UUID
) -> None:
    """Each adds to the same two numbers in its own order, and tells of failures in the other's."""
    channels, connection_id = [str(uuid4()), str(uuid4())], str(uuid4())
    now = datetime.now(UTC)

    def items(number: int, state: conversation_pb.MessageState.ValueType) -> list[conversation_pb.RecordItem]:
        made = []
        for place in (0, 1) if number % 2 else (1, 0):
            reported = Reported(organization_id, f"4{number}{place}", connection_id, channels[place])
            made.append(reported.item(at(now, answered(f"{number}-{place}", state=state))))
        return made

    def mixed(number: int) -> list[conversation_pb.RecordItem]:
        return [*items(number, FAILED), *items(number + PARALLEL, SENT)]

    await batch(world, *[item for number in range(PARALLEL) for item in items(number, SENT)])
    answers = await asyncio.gather(*(batch(world, *mixed(number)) for number in range(PARALLEL)))
    assert all(result.HasField("item") for answer in answers for result in answer)
    rows = await world.rows(
        "select direction, sum(count)::int as count, sum(failed_count)::int as failed, count(distinct channel_id)"
        " as channels from conversation.message_rollups where organization_id = %s group by direction",
        organization_id,
    )
    assert rows == [{"direction": "OUTBOUND", "count": 4 * PARALLEL, "failed": 2 * PARALLEL, "channels": 2}]
    [counted] = await world.rows(COUNTED, organization_id)
    assert (counted["count"], counted["failed"]) == (4 * PARALLEL, 2 * PARALLEL)


async def test_a_transaction_that_fails_counts_nothing(world: World, organization_id: UUID) -> None:
    one, other = Reported(organization_id), Reported(organization_id, provider_conversation_id="393")
    other.channel_id = one.channel_id
    now = datetime.now(UTC)
    await batch(world, one.item(at(now, written("1"))))
    # The same message told of another conversation is refused, and the batch is halved until it stands alone.
    answers = await batch(world, one.item(at(now, written("2"))), other.item(at(now, written("1"))))
    assert [result.WhichOneof("result") for result in answers] == ["item", "error"]
    today = datetime.now(ZoneInfo("UTC")).date().isoformat()
    assert (await per_day(world.as_user(organization_id), time_zone="UTC"))[-1] == (today, 2, 0, 0)


async def test_nobody_sees_the_figures_of_another_organization(world: World, organization_id: UUID) -> None:
    one, _ = await mixed_days(world, organization_id)
    stranger = world.as_user(uuid4())
    for asked in ({}, {"channel_id": one.channel_id}):
        figures = await per_day(stranger, time_zone="UTC", **asked)
        assert [day[1:] for day in figures] == [(0, 0, 0)] * 7


@pytest.mark.parametrize("name", ["America/Nowhere", "../../etc/passwd", "America", "Lisbon"])
async def test_a_time_zone_that_there_is_not_is_refused(world: World, organization_id: UUID, name: str) -> None:
    service = world.as_user(organization_id).stub(MetricServiceStub)
    for call in (
        service.GetMessagesPerDay(pb.GetMessagesPerDayRequest(time_zone=name)),
        service.GetHourHeatmap(pb.GetHourHeatmapRequest(time_zone=name)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert error_info(refused.value).reason == "TIME_ZONE_INVALID"
