"""AlertService: translate, call, translate."""

from __future__ import annotations

import grpc

from chassis import auth
from chassis.db import Database
from chassis.enums import wanted_text
from chassis.paging import read_page
from prosa.ingest.v1 import alert_service_pb2 as pb
from prosa.ingest.v1 import alert_service_pb2_grpc as pb_grpc
from services.ingest.health import messages, store
from services.ingest.health.rules import AlertState


class AlertServicer(pb_grpc.AlertServiceServicer):
    """What was not well, and is not."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def ListAlerts(
        self,
        request: pb.ListAlertsRequest,
        context: grpc.aio.ServicerContext[pb.ListAlertsRequest, pb.ListAlertsResponse],
    ) -> pb.ListAlertsResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        wanted = wanted_text(pb.AlertState, request.state)
        state = None if wanted is None else AlertState(wanted)
        async with self._db.transaction(organization_id) as tx:
            found = await store.list_alerts(tx, organization_id, state, page.after_id(), page.size + 1)
        shown, token = page.cut(found, lambda alert: (alert.id,))
        return pb.ListAlertsResponse(alerts=map(messages.alert_message, shown), next_page_token=token)
