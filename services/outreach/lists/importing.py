"""Reads imports in turns, batch by batch, to their end: what a crash cuts off goes on at the row where it stood.

A batch's rows go to identity first, which finds again whom it made before; the place in the file, the counts, members
and rows at fault are written in one transaction.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import grpc.aio

from chassis import rpc, wire
from chassis.canonical import Source
from chassis.clock import Clock
from chassis.db import Database, Tx
from chassis.enums import enum_number
from chassis.errors import InvalidArgument, ProsaError, from_status
from chassis.ids import Ids
from chassis.outbox import Outbox
from chassis.profiles import Profiles
from chassis.queues.items import Dead, Done, Item, Outcome, Place
from chassis.queues.queue import Queue
from chassis.queues.worker import Fence, Handler
from prosa.identity.v1 import contact_service_pb2 as contact_pb
from prosa.v1 import options_pb2
from services.outreach.lists import import_store, list_store, messages
from services.outreach.lists.csv_reading import Form, Window, detect, read_rows
from services.outreach.lists.domain import Import, ImportState, Member, RowError
from services.outreach.lists.limits import (
    BATCH_ROWS,
    ERRORS_LISTED_MAX,
    IMPORT_TURN_SECONDS,
    LINE_BYTES_MAX,
    ROWS_MAX,
    TELL_SECONDS,
    WINDOW_BYTES,
)
from services.outreach.lists.rows import Row, places_of, read_row

if TYPE_CHECKING:
    from prosa.identity.v1.contact_service_pb2_grpc import ContactServiceAsyncStub

IMPORTS = Queue("import_queue", "outreach")
SOURCE_KEYS = {source.value: f"{source.value.lower()}:" for source in Source}


@dataclass(frozen=True, slots=True)
class _Read:
    """A batch of rows, judged by their form."""

    rows: Sequence[Row]
    errors: Sequence[RowError]
    window: Window

    @property
    def count(self) -> int:
        return len(self.rows) + len(self.errors)


@dataclass(frozen=True, slots=True)
class _TakenIn:
    """What identity said of a batch."""

    members: Sequence[Member] = ()
    created_count: int = 0
    existing_count: int = 0
    errors: Sequence[RowError] = ()


class CannotGoOn(Exception):
    """An import that ends here; the message says why."""


class Importing(Handler[Item]):
    """Works off imports that were started."""

    def __init__(
        self,
        db: Database,
        outbox: Outbox,
        contacts: ContactServiceAsyncStub,
        profiles: Profiles,
        clock: Clock,
        ids: Ids,
        queue: Queue,
    ) -> None:
        self._db, self._outbox, self._contacts, self._profiles = db, outbox, contacts, profiles
        self._clock, self._ids, self._queue = clock, ids, queue

    async def work(self, items: Sequence[Item], fence: Fence) -> Sequence[Outcome[Item]]:
        """Reads each on for its turn, at most to its end. Raises what identity raises where it is away."""
        for item in items:
            await self._run(item, fence)
        return [Done(item) for item in items]

    async def record(self, tx: Tx, outcomes: Sequence[Outcome[Item]]) -> None:
        """What is given up ends where it stood, and says why; what was not read to its end goes behind the others."""
        for outcome in outcomes:
            item = outcome.item
            if isinstance(outcome, Dead):
                await self._end(tx, item, outcome.detail or outcome.reason)
            elif isinstance(outcome, Done):
                kept = await import_store.find_import(tx, item.organization_id, item.item_id)
                if kept is not None and kept.state is ImportState.RUNNING:
                    # It stands in the queue until this is committed, and would keep its place.
                    await self._queue.remove(tx, [item.item_id])
                    await self._queue.put(tx, [Place(item.item_id, item.organization_id, item.key)], self._clock.now())

    async def _run(self, item: Item, fence: Fence) -> None:
        region = (await self._profiles.of(item.organization_id)).region
        form: Form | None = None
        explanation = ""
        until = time.monotonic() + IMPORT_TURN_SECONDS
        while True:
            try:
                async with self._db.transaction(item.organization_id) as tx:
                    kept = await import_store.find_import(tx, item.organization_id, item.item_id)
                    if kept is None or kept.state is not ImportState.RUNNING:
                        return
                    if kept.position >= kept.file_size:
                        break
                    form = form or await read_form(tx, kept)
                    read = await self._read(tx, kept, form, region)
                taken = _TakenIn() if kept.dry_run else await self._take_in(kept, read.rows)
                await self._write(kept, read, taken, fence)
                if time.monotonic() >= until:
                    return
            except CannotGoOn as why:
                explanation = str(why)
                break
        async with self._db.transaction(item.organization_id) as tx:
            await fence(tx)
            await self._end(tx, item, explanation)

    async def _read(self, tx: Tx, kept: Import, form: Form, region: str) -> _Read:
        """The next rows. Raises CannotGoOn."""
        source, places = Source(kept.source), places_of(form.header, kept.columns)
        for size in (WINDOW_BYTES, LINE_BYTES_MAX):
            data = await import_store.read_file(tx, kept, kept.position, size)
            if not data:
                raise CannotGoOn("The file is not kept any more. Upload it once more into another import.")
            window = read_rows(
                data,
                form.encoding,
                form.delimiter,
                position=kept.position,
                line=kept.line,
                count=BATCH_ROWS,
                whole=kept.position + len(data) >= kept.file_size,
            )
            if window.position > kept.position:
                break
        else:
            raise CannotGoOn(f"Line {kept.line} is longer than any line of a table. Save the file as CSV again.")
        if kept.processed_count + len(window.records) > ROWS_MAX:
            raise CannotGoOn(f"The file has more than {ROWS_MAX} rows. Split it, and import the rest by itself.")
        judged = [read_row(record, form.header, places, source, region) for record in window.records]
        rows = [row for row in judged if isinstance(row, Row)]
        return _Read(rows, [error for error in judged if isinstance(error, RowError)], window)

    async def _take_in(self, kept: Import, rows: Sequence[Row]) -> _TakenIn:
        """Finds or makes the contacts of a batch. Raises what identity raises."""
        if not rows:
            return _TakenIn()
        request = contact_pb.BatchResolveContactsRequest(people=[_person(kept, row) for row in rows])
        try:
            answer = await self._contacts.BatchResolveContacts(request)
        except grpc.aio.AioRpcError as error:
            raise rpc.error_of(error) from error
        now = self._clock.now()
        members: list[Member] = []
        errors: list[RowError] = []
        created = 0
        for row, result in zip(rows, answer.results, strict=True):
            fault = _refused(kept, row, result)
            if fault is not None:
                errors.append(fault)
                continue
            created += result.contact.outcome == contact_pb.RESOLUTION_OUTCOME_CREATED
            members.append(self._member(kept, row, result.contact, now))
        return _TakenIn(members, created, len(members) - created, errors)

    def _member(self, kept: Import, row: Row, contact: contact_pb.ResolvedContact, now: datetime) -> Member:
        external_id = contact.conversation_key.removeprefix(SOURCE_KEYS[kept.source]) or row.external_id
        contact_id = wire.to_uuid("contact_id", contact.contact_id)
        return Member(self._ids.new(), contact_id, kept.source, external_id, contact.name or row.name, now)

    async def _write(self, kept: Import, read: _Read, taken: _TakenIn, fence: Fence) -> None:
        now = self._clock.now()
        async with self._db.transaction(kept.organization_id) as tx:
            await fence(tx)
            found = await import_store.find_import(tx, kept.organization_id, kept.id, lock=True)
            if found is None or found.version != kept.version:
                # Somebody changed it meanwhile; it is read again.
                return
            errors = sorted([*read.errors, *taken.errors], key=lambda error: error.line)
            listed_max = max(ERRORS_LISTED_MAX - kept.error_count, 0)
            await import_store.insert_errors(tx, kept, errors[:listed_max], now)
            await list_store.add_members(tx, kept.organization_id, kept.contact_list_id, taken.members)
            # Who a dry run would take in is not looked up: all that are in form count as new.
            created_count = len(read.rows) if kept.dry_run else taken.created_count
            changed = replace(
                kept,
                position=read.window.position,
                line=read.window.line,
                processed_count=kept.processed_count + read.count,
                created_count=kept.created_count + created_count,
                existing_count=kept.existing_count + taken.existing_count,
                error_count=kept.error_count + len(errors),
                version=kept.version + 1,
            )
            await self._update(tx, changed, now)

    async def _end(self, tx: Tx, item: Item, explanation: str) -> None:
        """Ends an import that runs: as failed, where there is something to explain."""
        now = self._clock.now()
        kept = await import_store.find_import(tx, item.organization_id, item.item_id, lock=True)
        if kept is None or kept.state is not ImportState.RUNNING:
            return
        state = ImportState.FAILED if explanation else ImportState.DONE
        if explanation or not kept.dry_run:
            await import_store.delete_parts(tx, kept)
        ended = replace(
            kept,
            state=state,
            row_count=kept.processed_count,
            explanation=explanation,
            end_time=now,
            version=kept.version + 1,
        )
        await self._update(tx, ended, now)

    async def _update(self, tx: Tx, changed: Import, now: datetime) -> None:
        """Writes an import, and tells of it: of its end always, else not more often than once in a while."""
        told = changed.tell_time
        if changed.end_time is not None or told is None or now - told >= timedelta(seconds=TELL_SECONDS):
            changed = replace(changed, tell_time=now)
            await self._outbox.add(tx, [messages.import_changed(changed)], now)
        await import_store.update_import(tx, changed)


async def read_form(tx: Tx, kept: Import) -> Form:
    """How an import's file is written. Raises InvalidArgument FILE_UNREADABLE."""
    start = await import_store.read_file(tx, kept, 0, LINE_BYTES_MAX)
    return detect(start, whole=len(start) >= kept.file_size)


def _person(kept: Import, row: Row) -> contact_pb.Person:
    by_phone = _by_phone(kept, row)
    return contact_pb.Person(
        organization_id=str(kept.organization_id),
        source=enum_number(options_pb2.Source, kept.source),
        external_id="" if by_phone else row.external_id,
        external_id_typed=not by_phone,
        name=row.name,
        phone=row.phone,
        email=row.email,
        create_missing=True,
        cause_id=f"{kept.id}:{row.line}",
    )


def _by_phone(kept: Import, row: Row) -> bool:
    """Whether a phone alone names the person: identity knows which phones are nobody's."""
    return kept.source == Source.WHATSAPP.value and row.phone == row.external_id


def _refused(kept: Import, row: Row, result: contact_pb.ResolveResult) -> RowError | None:
    """Why identity took nobody in for a row; None where it did. Raises what is no fault of the row."""
    by_phone = _by_phone(kept, row)
    column, value = (kept.columns.phone, row.phone) if by_phone else (kept.columns.external_id, row.external_id)
    if result.WhichOneof("result") == "error":
        error: ProsaError = from_status(result.error)
        if not isinstance(error, InvalidArgument):
            raise error
        if by_phone:
            return RowError(
                row.line, column, value, "VALUE_BLOCKED", f"{row.phone} is nobody's phone: leave the row out."
            )
        reason = "IDENTITY_AMBIGUOUS" if error.reason == "EXTERNAL_ID_AMBIGUOUS" else "IDENTITY_MISSING"
        return RowError(row.line, column, value, reason, error.message)
    if result.contact.outcome == contact_pb.RESOLUTION_OUTCOME_AMBIGUOUS:
        message = "Several contacts could be meant. Decide the open task about them, then import the row once more."
        return RowError(row.line, column, value, "IDENTITY_AMBIGUOUS", message)
    return None
