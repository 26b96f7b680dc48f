"""RolloutService: translate, call, translate."""

from __future__ import annotations

from datetime import timedelta

import grpc

from chassis import auth
from chassis.clock import Clock
from chassis.db import Database
from chassis.enums import wanted_text
from chassis.ids import Ids
from chassis.paging import read_page
from prosa.ingest.v1 import rollout_service_pb2 as pb
from prosa.ingest.v1 import rollout_service_pb2_grpc as pb_grpc
from services.ingest.rollout import messages, store
from services.ingest.rollout.changing import Changing
from services.ingest.rollout.doctor import Doctor
from services.ingest.rollout.store import Report

DOCTOR = "DOCTOR"


class RolloutServicer(pb_grpc.RolloutServiceServicer):
    """How an organization goes live, with the evidence."""

    def __init__(self, db: Database, doctor: Doctor, changing: Changing, clock: Clock, ids: Ids) -> None:
        self._db, self._doctor, self._changing, self._clock, self._ids = db, doctor, changing, clock, ids

    async def RunDoctor(
        self,
        request: pb.RunDoctorRequest,
        context: grpc.aio.ServicerContext[pb.RunDoctorRequest, pb.RolloutReport],
    ) -> pb.RolloutReport:
        organization_id, caller, begun = auth.organization_id(), auth.caller(), self._clock.now()
        # Asked outside of any transaction: it takes seconds.
        items = await self._doctor.run(organization_id)
        report = Report(
            id=self._ids.new(),
            organization_id=organization_id,
            phase=DOCTOR,
            passed=all(item.passed for item in items),
            items=messages.kept_items(items),
            principal=caller.principal,
            principal_name=caller.name,
            create_time=begun,
            duration_ms=(self._clock.now() - begun) // timedelta(milliseconds=1),
        )
        async with self._db.transaction(organization_id) as tx:
            await store.insert(tx, report)
        return messages.report_message(report)

    async def Activate(
        self,
        request: pb.ActivateRequest,
        context: grpc.aio.ServicerContext[pb.ActivateRequest, pb.RolloutReport],
    ) -> pb.RolloutReport:
        return await self._changing.activate(request)

    async def RollBack(
        self,
        request: pb.RollBackRequest,
        context: grpc.aio.ServicerContext[pb.RollBackRequest, pb.RolloutReport],
    ) -> pb.RolloutReport:
        return await self._changing.roll_back(request)

    async def GetRollout(
        self,
        request: pb.GetRolloutRequest,
        context: grpc.aio.ServicerContext[pb.GetRolloutRequest, pb.Rollout],
    ) -> pb.Rollout:
        organization_id = auth.organization_id()
        async with self._db.transaction(organization_id) as tx:
            return messages.rollout_message(await store.find_rollout(tx, organization_id))

    async def ListRolloutReports(
        self,
        request: pb.ListRolloutReportsRequest,
        context: grpc.aio.ServicerContext[pb.ListRolloutReportsRequest, pb.ListRolloutReportsResponse],
    ) -> pb.ListRolloutReportsResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        phase = wanted_text(pb.RolloutPhase, request.phase)
        async with self._db.transaction(organization_id) as tx:
            rows = await store.list_reports(tx, organization_id, phase, page.after_id(), page.size + 1)
        shown, token = page.cut(rows, lambda row: (row.id,))
        return pb.ListRolloutReportsResponse(
            rollout_reports=[messages.report_message(row) for row in shown], next_page_token=token
        )
