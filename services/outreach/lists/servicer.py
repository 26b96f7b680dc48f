"""ListService: translate, call, translate."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeAlias
from uuid import UUID

import grpc

from chassis import auth, wire
from chassis.clock import Clock
from chassis.db import Database, Tx
from chassis.enums import enum_text
from chassis.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, OutOfRange, ResourceExhausted
from chassis.idempotency import IdempotencyStore
from chassis.ids import Ids
from chassis.outbox import Outbox
from chassis.paging import read_page, token_invalid
from chassis.queues.items import Place
from chassis.queues.queue import Queue
from prosa.outreach.v1 import list_service_pb2 as pb
from prosa.outreach.v1 import list_service_pb2_grpc as pb_grpc
from prosa.v1 import options_pb2
from services.outreach.domain import readable
from services.outreach.lists import import_store, list_store, messages
from services.outreach.lists.domain import ContactList, Import, ImportState
from services.outreach.lists.importing import read_form
from services.outreach.lists.limits import (
    FILE_BYTES_MAX,
    FILE_KEPT_DAYS,
    FILES_BYTES_MAX,
    IMPORTS_OPEN_MAX,
    LISTS_MAX,
)
from services.outreach.lists.rows import find_columns
from services.outreach.sending.kill_switch import Actor

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]

_FILES_TOO_MANY = (
    f"The files of imports that are kept have at most {FILES_BYTES_MAX // 1024**2} MiB together. Start those whose"
    " files are here, also those that were only tried, or wait: a file is forgotten when its rows were taken in, or"
    f" after {FILE_KEPT_DAYS} days."
)


class ListServicer(pb_grpc.ListServiceServicer):
    """The lists and imports of one organization."""

    def __init__(
        self, db: Database, outbox: Outbox, idempotency: IdempotencyStore, clock: Clock, ids: Ids, imports: Queue
    ) -> None:
        self._db, self._outbox, self._idempotency = db, outbox, idempotency
        self._clock, self._ids, self._imports = clock, ids, imports

    async def CreateContactList(self, request: pb.CreateContactListRequest, context: Context) -> pb.ContactList:
        organization_id, now = auth.organization_id(), self._clock.now()
        name = readable(request.name)
        if not name:
            raise InvalidArgument("FIELD_INVALID", "name must be more than blanks.")
        made = ContactList(organization_id, self._ids.new(), name, now)

        async def create(tx: Tx) -> pb.ContactList:
            await list_store.hold_counts(tx, organization_id)
            if not await list_store.insert_list(tx, made, LISTS_MAX):
                if await list_store.name_taken(tx, organization_id, name):
                    raise AlreadyExists("NAME_TAKEN", f"There is a list {name} already. Choose another name.")
                raise ResourceExhausted("LISTS_LIMITED", f"An organization has at most {LISTS_MAX} lists.")
            return messages.list_message(made)

        return await self._idempotency.once(self._db, organization_id, request, pb.ContactList, now, create)

    async def GetContactList(self, request: pb.GetContactListRequest, context: Context) -> pb.ContactList:
        organization_id = auth.organization_id()
        list_id = wire.to_uuid("contact_list_id", request.contact_list_id)
        async with self._db.transaction(organization_id) as tx:
            return messages.list_message(await _list(tx, organization_id, list_id))

    async def ListContactLists(
        self, request: pb.ListContactListsRequest, context: Context
    ) -> pb.ListContactListsResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        async with self._db.transaction(organization_id) as tx:
            found = await list_store.list_lists(tx, organization_id, page.after, page.size + 1)
        shown, token = page.cut(found, lambda pair: (pair[0],))
        return pb.ListContactListsResponse(
            contact_lists=[messages.list_message(kept) for _, kept in shown], next_page_token=token
        )

    async def ListContactListMembers(
        self, request: pb.ListContactListMembersRequest, context: Context
    ) -> pb.ListContactListMembersResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        list_id = wire.to_uuid("contact_list_id", request.contact_list_id)
        before = page.after_id()
        async with self._db.transaction(organization_id) as tx:
            await _list(tx, organization_id, list_id)
            found = await list_store.list_members(tx, organization_id, list_id, before, page.size + 1)
        shown, token = page.cut(found, lambda member: (member.id,))
        return pb.ListContactListMembersResponse(members=map(messages.member_message, shown), next_page_token=token)

    async def CreateContactImport(self, request: pb.CreateContactImportRequest, context: Context) -> pb.ContactImport:
        caller, organization_id, now = auth.caller(), auth.organization_id(), self._clock.now()
        source = request.source or options_pb2.SOURCE_WHATSAPP
        made = Import(
            organization_id=organization_id,
            id=self._ids.new(),
            contact_list_id=wire.to_uuid("contact_list_id", request.contact_list_id),
            source=enum_text(options_pb2.Source, source),
            file_name=readable(request.file_name),
            actor=Actor(caller.principal, caller.name),
            create_time=now,
            columns=messages.columns_of(request.columns),
        )

        async def create(tx: Tx) -> pb.ContactImport:
            await _list(tx, organization_id, made.contact_list_id)
            await list_store.hold_counts(tx, organization_id)
            since = now - timedelta(days=FILE_KEPT_DAYS)
            if await import_store.count_open(tx, organization_id, since) >= IMPORTS_OPEN_MAX:
                message = f"{IMPORTS_OPEN_MAX} imports are open. Start those whose files are here, or wait for them."
                raise ResourceExhausted("IMPORTS_LIMITED", message)
            await import_store.insert_import(tx, made)
            return messages.import_message(made)

        return await self._idempotency.once(self._db, organization_id, request, pb.ContactImport, now, create)

    async def AppendContactImportFile(
        self, request: pb.AppendContactImportFileRequest, context: Context
    ) -> pb.ContactImport:
        organization_id, now = auth.organization_id(), self._clock.now()
        import_id = wire.to_uuid("contact_import_id", request.contact_import_id)
        async with self._db.transaction(organization_id) as tx:
            kept = await _import(tx, organization_id, import_id, lock=True)
            if kept.state is not ImportState.UPLOADING:
                raise _begun()
            if not request.part:
                return messages.import_message(kept)
            if request.offset != kept.file_size:
                if not await import_store.has_part(tx, kept, request.offset, request.part):
                    raise _offset_invalid(kept.file_size)
                return messages.import_message(kept)
            if kept.file_size + len(request.part) > FILE_BYTES_MAX:
                raise ResourceExhausted(
                    "FILE_TOO_LARGE", f"A file has at most {FILE_BYTES_MAX // 1024**2} MiB. Split it."
                )
            await list_store.hold_counts(tx, organization_id)
            if await import_store.count_file_bytes(tx, organization_id) + len(request.part) > FILES_BYTES_MAX:
                raise ResourceExhausted("IMPORTS_LIMITED", _FILES_TOO_MANY)
            await import_store.insert_part(tx, kept, request.part, now)
            changed = replace(kept, file_size=kept.file_size + len(request.part), version=kept.version + 1)
            await import_store.update_import(tx, changed)
        return messages.import_message(changed)

    async def StartContactImport(self, request: pb.StartContactImportRequest, context: Context) -> pb.ContactImport:
        organization_id, now = auth.organization_id(), self._clock.now()
        import_id = wire.to_uuid("contact_import_id", request.contact_import_id)

        async def begin(tx: Tx) -> pb.ContactImport:
            kept = await _import(tx, organization_id, import_id, lock=True)
            found_errors_only = kept.state is ImportState.DONE and kept.dry_run
            if kept.state is not ImportState.UPLOADING and not found_errors_only:
                raise _begun()
            if not kept.file_size or not await import_store.read_file(tx, kept, 0, 1):
                raise FailedPrecondition(
                    "FILE_MISSING", f"Upload the file first: PUT /api/v1/contact-imports/{kept.id}/file."
                )
            form = await read_form(tx, kept)
            wanted = messages.columns_of(request.columns) if request.HasField("columns") else kept.columns
            started = replace(
                kept,
                state=ImportState.RUNNING,
                columns=find_columns(form.header, wanted),
                encoding=form.encoding,
                delimiter=form.delimiter,
                dry_run=request.dry_run,
                position=form.rows_from,
                line=form.line,
                processed_count=0,
                row_count=0,
                created_count=0,
                existing_count=0,
                error_count=0,
                end_time=None,
                tell_time=now,
                version=kept.version + 1,
            )
            await import_store.delete_errors(tx, kept)
            await import_store.update_import(tx, started)
            await self._imports.put(tx, [Place(kept.id, organization_id, str(kept.id))], now)
            await self._outbox.add(tx, [messages.import_changed(started)], now)
            return messages.import_message(started)

        return await self._idempotency.once(self._db, organization_id, request, pb.ContactImport, now, begin)

    async def GetContactImport(self, request: pb.GetContactImportRequest, context: Context) -> pb.ContactImport:
        organization_id = auth.organization_id()
        import_id = wire.to_uuid("contact_import_id", request.contact_import_id)
        async with self._db.transaction(organization_id) as tx:
            return messages.import_message(await _import(tx, organization_id, import_id))

    async def ListContactImports(
        self, request: pb.ListContactImportsRequest, context: Context
    ) -> pb.ListContactImportsResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        before = page.after_id()
        async with self._db.transaction(organization_id) as tx:
            found = await import_store.list_imports(tx, organization_id, before, page.size + 1)
        shown, token = page.cut(found, lambda kept: (kept.id,))
        return pb.ListContactImportsResponse(contact_imports=map(messages.import_message, shown), next_page_token=token)

    async def ListImportErrors(
        self, request: pb.ListImportErrorsRequest, context: Context
    ) -> pb.ListImportErrorsResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        import_id = wire.to_uuid("contact_import_id", request.contact_import_id)
        try:
            after_line = int(page.after[0]) if page.after is not None else 0
        except ValueError:
            raise token_invalid() from None
        async with self._db.transaction(organization_id) as tx:
            await _import(tx, organization_id, import_id)
            found = await import_store.list_errors(tx, organization_id, import_id, after_line, page.size + 1)
        shown, token = page.cut(found, lambda error: (error.line,))
        return pb.ListImportErrorsResponse(errors=map(messages.error_message, shown), next_page_token=token)


async def _list(tx: Tx, organization_id: UUID, list_id: UUID) -> ContactList:
    found = await list_store.find_list(tx, organization_id, list_id)
    if found is None:
        raise NotFound("CONTACT_LIST_NOT_FOUND", "The organization has no such list.")
    return found


async def _import(tx: Tx, organization_id: UUID, import_id: UUID, *, lock: bool = False) -> Import:
    found = await import_store.find_import(tx, organization_id, import_id, lock=lock)
    if found is None:
        raise NotFound("CONTACT_IMPORT_NOT_FOUND", "The organization has no such import.")
    return found


def _begun() -> FailedPrecondition:
    return FailedPrecondition("IMPORT_BEGUN", "The import runs or has ended. Begin another one.")


def _offset_invalid(file_size: int) -> OutOfRange:
    message = (
        f"{file_size} bytes are kept, and this part neither follows on them nor is one of them. Go on at byte"
        f" {file_size}, or begin another import for another file."
    )
    return OutOfRange("OFFSET_INVALID", message, offset=str(file_size))
