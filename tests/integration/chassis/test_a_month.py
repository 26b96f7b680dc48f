"""A month against real servers: by a clock that is moved, upkeep is done each hour of it, and all goes on after it."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import structlog

from chassis.clock import SettableClock, SystemClock
from chassis.migrations import PARTITIONS_AHEAD
from embedded.servers import EmbeddedServers
from prosa.crm.v1 import crm_service_pb2 as pb
from prosa.crm.v1.crm_service_pb2_grpc import CrmServiceStub
from prosa.crm.v1.events_pb2 import BoardCreated
from tests.world import settings_for, start_world

DAY = timedelta(days=1)
DAYS = 31
TARGETS = ("crm",)


def _partition(moment: datetime) -> str:
    return f"crm.outbox_{moment:%Y%m%d}"


async def test_a_month_goes_by_and_the_service_still_has_a_place_for_its_facts(
    servers: EmbeddedServers, database_url: str, keys_dir: Path, organization_id: UUID
) -> None:
    clock = SettableClock(SystemClock().now())
    begin = clock.now()
    settings = settings_for(database_url, servers.nats_url, servers.redis_url, keys_dir)
    world = await start_world(settings, database_url, TARGETS, clock)
    try:
        await clock.asleep(1)
        with structlog.testing.capture_logs() as lines:
            await clock.run_until(begin + DAYS * DAY)
        assert not [line for line in lines if line["event"].startswith("maintenance_")]
        there = {row["name"] for row in await world.rows("select inhrelid::regclass::text as name from pg_inherits")}
        for ahead in range(PARTITIONS_AHEAD + 1):
            assert _partition(clock.now() + ahead * DAY) in there
        # What the first weeks had a place for is gone, piece by piece.
        assert not {_partition(begin + days * DAY) for days in range(DAYS - 7)} & there
        stub = world.as_user(organization_id).stub(CrmServiceStub)
        board = await stub.CreateBoard(pb.CreateBoardRequest(name="March", request_id=str(uuid4())))
        assert [fact.board.board_id for fact in await world.announced(BoardCreated, organization_id)] == [
            board.board_id
        ]
    finally:
        await world.close()
        await world.host.stop()
    assert clock.now() == begin + DAYS * DAY
