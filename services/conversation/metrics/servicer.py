"""MetricService: translate, read, fold, translate."""

from __future__ import annotations

from datetime import date
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import grpc.aio

from chassis import auth, wire
from chassis.clock import Clock
from chassis.db import Database
from chassis.errors import InvalidArgument
from chassis.profiles import Profiles
from prosa.conversation.v1 import conversation_service_pb2 as conversation_pb
from prosa.conversation.v1 import metric_service_pb2 as pb
from prosa.conversation.v1 import metric_service_pb2_grpc as pb_grpc
from services.conversation.messages.domain.message import Direction
from services.conversation.metrics import domain, store
from services.conversation.metrics.domain import QuarterCount

Context = grpc.aio.ServicerContext[Any, Any]

_DIRECTIONS = {
    conversation_pb.MESSAGE_DIRECTION_UNSPECIFIED: None,
    conversation_pb.MESSAGE_DIRECTION_INBOUND: Direction.INBOUND,
    conversation_pb.MESSAGE_DIRECTION_OUTBOUND: Direction.OUTBOUND,
}


class MetricServicer(pb_grpc.MetricServiceServicer):
    """Answers figures; they are kept where messages are recorded."""

    def __init__(self, db: Database, clock: Clock, profiles: Profiles) -> None:
        self._db = db
        self._clock = clock
        self._profiles = profiles

    async def GetMessagesPerDay(self, request: pb.GetMessagesPerDayRequest, context: Context) -> pb.MessagesPerDay:
        zone, dates, counts = await self._read(request, None)
        return pb.MessagesPerDay(
            time_zone=zone.key,
            days=[
                pb.DayCount(
                    date=day.date.isoformat(),
                    inbound_count=day.inbound,
                    outbound_count=day.outbound,
                    failed_count=day.failed,
                )
                for day in domain.by_day(counts, zone, dates)
            ],
        )

    async def GetHourHeatmap(self, request: pb.GetHourHeatmapRequest, context: Context) -> pb.HourHeatmap:
        zone, dates, counts = await self._read(request, _DIRECTIONS[request.direction])
        cells = domain.by_hour(counts, zone, dates)
        return pb.HourHeatmap(
            time_zone=zone.key,
            cells=[
                pb.HourCell(weekday=weekday, hour=hour, count=count)
                for weekday, hours in enumerate(cells, start=1)
                for hour, count in enumerate(hours)
            ],
            count_max=max(max(hours) for hours in cells),
        )

    async def _read(
        self, request: pb.GetMessagesPerDayRequest | pb.GetHourHeatmapRequest, direction: Direction | None
    ) -> tuple[ZoneInfo, list[date], list[QuarterCount]]:
        organization_id = auth.organization_id()
        channel_id = wire.to_optional_uuid("channel_id", request.channel_id)
        zone = _zone(request.time_zone or (await self._profiles.of(organization_id)).time_zone)
        dates = domain.days_asked_for(self._clock.now(), zone, request.day_count)
        async with self._db.transaction(organization_id) as tx:
            counts = await store.list_counts(
                tx, organization_id, domain.look_from(dates[0], zone), channel_id, direction
            )
        return zone, dates, counts


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidArgument("TIME_ZONE_INVALID", "Name a time zone like America/Sao_Paulo.") from None
