"""What webhooks say of connected numbers, in the words of conversation's contract: one call for a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import grpc.aio

from chassis import wire
from chassis.errors import PermissionDenied, ProsaError, Unauthenticated, from_status
from chassis.rpc import error_of
from prosa.conversation.v1 import instance_service_pb2 as pb
from services.ingest.normal_form import InstanceNews
from services.ingest.processing.outcome_store import Pending

if TYPE_CHECKING:
    from prosa.conversation.v1.instance_service_pb2_grpc import InstanceServiceAsyncStub

STEP_SECONDS = 10.0
"""The deadline of the call."""


class InstanceReporter:
    """Tells conversation of numbers."""

    def __init__(self, instances: InstanceServiceAsyncStub) -> None:
        self._instances = instances

    async def tell(self, news: Sequence[tuple[Pending, InstanceNews]]) -> list[ProsaError | None]:
        """What is wrong with each, None where it was taken. Raises what the whole call failed with."""
        request = pb.BatchRecordInstanceReportsRequest()
        for item, told in news:
            report = request.reports.add(
                organization_id=str(item.organization_id),
                connection_id=str(item.connection_id),
                cause_id=str(item.item_id),
                connection_state=told.connection_state,
                status_reason=told.status_reason,
                qr_code=told.qr_code,
                pairing_code=told.pairing_code,
                own_jid=told.own_jid,
                profile_name=told.profile_name,
            )
            wire.write_timestamp(report.receive_time, item.put_time)
        try:
            answer = await self._instances.BatchRecordInstanceReports(request, timeout=STEP_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error
        errors = [None if result.code == 0 else from_status(result) for result in answer.results]
        for refused in errors:
            # Our own call was refused, so none of it counts.
            if isinstance(refused, Unauthenticated | PermissionDenied):
                raise refused
        return errors
