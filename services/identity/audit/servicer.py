"""AuditService: translate, call, translate."""

from __future__ import annotations

from typing import Any

import grpc

from chassis import auth, wire
from chassis.db import Database
from chassis.paging import read_page
from prosa.identity.v1 import audit_service_pb2 as pb
from prosa.identity.v1 import audit_service_pb2_grpc as pb_grpc
from prosa.v1 import audit_pb2, options_pb2
from services.identity.audit import store
from services.identity.audit.store import Entry, Wanted

Context = grpc.aio.ServicerContext[Any, Any]


class AuditServicer(pb_grpc.AuditServiceServicer):
    """Who did what."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def ListAuditEntries(
        self, request: pb.ListAuditEntriesRequest, context: Context
    ) -> pb.ListAuditEntriesResponse:
        organization_id, page = auth.organization_id(), read_page(request, key_length=2)
        wanted = Wanted(
            request.principal,
            request.action,
            request.target_type,
            request.target_id,
            wire.from_timestamp(request.start_time) if request.HasField("start_time") else None,
            wire.from_timestamp(request.end_time) if request.HasField("end_time") else None,
        )
        async with self._db.transaction(organization_id) as tx:
            found = await store.list_entries(tx, organization_id, wanted, page.after_moment(), page.size + 1)
        shown, token = page.cut(found, lambda entry: [entry.create_time.isoformat(), entry.id])
        return pb.ListAuditEntriesResponse(audit_entries=[_entry(entry) for entry in shown], next_page_token=token)


def _entry(entry: Entry) -> audit_pb2.AuditEntry:
    return audit_pb2.AuditEntry(
        audit_entry_id=str(entry.id),
        organization_id=str(entry.organization_id),
        create_time=wire.to_timestamp(entry.create_time),
        actor=options_pb2.Actor(principal=entry.principal, name=entry.name),
        action=entry.action,
        target_type=entry.target_type,
        target_id=entry.target_id,
        network=entry.network,
        correlation_id=entry.correlation_id,
        before_json=entry.before_json,
        after_json=entry.after_json,
        reason=entry.reason,
    )
