"""WebhookEventService: translate, call, translate."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from uuid import UUID

import grpc

from chassis import auth, wire
from chassis.clock import Clock
from chassis.db import Database
from chassis.enums import enum_number, wanted_text
from chassis.errors import FailedPrecondition, FieldViolation, InvalidArgument, NotFound, ProsaError
from chassis.ids import Ids
from chassis.paging import read_page
from chassis.queues.queue import Queue
from chassis.redirects import Redirects
from prosa.ingest.v1 import ingest_service_pb2
from prosa.ingest.v1 import webhook_event_service_pb2 as pb
from prosa.ingest.v1 import webhook_event_service_pb2_grpc as pb_grpc
from services.ingest.limits import BODY_TEXT_BYTES_MAX, REPLAY_CHUNK_EVENTS, REPLAY_EVENTS_MAX
from services.ingest.processing import event_store as store
from services.ingest.processing.event_store import DEAD_LETTER, PENDING, EventFilter, EventPlace, StoredEvent
from services.ingest.providers import number_of
from services.ingest.reasons import explain

REDIRECTS = Redirects("ingest")


class WebhookEventServicer(pb_grpc.WebhookEventServiceServicer):
    """What arrived at one organization, what became of it, and putting it back to be processed once more."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        ids: Ids,
        queue: Queue,
        *,
        replay_events_max: int = REPLAY_EVENTS_MAX,
        replay_chunk_events: int = REPLAY_CHUNK_EVENTS,
    ) -> None:
        self._db, self._clock, self._wake_workers = db, clock, queue.wake
        self._replay_events_max, self._replay_chunk_events = replay_events_max, replay_chunk_events

    async def ListWebhookEvents(
        self,
        request: pb.ListWebhookEventsRequest,
        context: grpc.aio.ServicerContext[pb.ListWebhookEventsRequest, pb.ListWebhookEventsResponse],
    ) -> pb.ListWebhookEventsResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        wanted = EventFilter(
            state=wanted_text(pb.WebhookEventState, request.state),
            connection_id=wire.to_optional_uuid("connection_id", request.connection_id),
            start_time=wire.from_timestamp(request.start_time) if request.HasField("start_time") else None,
            end_time=wire.from_timestamp(request.end_time) if request.HasField("end_time") else None,
            reason=request.reason or None,
        )
        contact_id = wire.to_optional_uuid("contact_id", request.contact_id)
        before = page.after_id()
        async with self._db.transaction(organization_id) as tx:
            if contact_id is not None:
                wanted = replace(wanted, contact_ids=tuple(await REDIRECTS.one_with(tx, contact_id)))
            events = await store.list_events(tx, organization_id, wanted, before, page.size + 1)
            standing = await REDIRECTS.resolve(tx, [each.contact_id for each in events if each.contact_id is not None])
        events = [
            each if each.contact_id is None else replace(each, contact_id=standing[each.contact_id]) for each in events
        ]
        shown, token = page.cut(events, lambda event: (event.id,))
        return pb.ListWebhookEventsResponse(
            webhook_events=[event_message(event) for event in shown], next_page_token=token
        )

    async def GetWebhookEvent(
        self,
        request: pb.GetWebhookEventRequest,
        context: grpc.aio.ServicerContext[pb.GetWebhookEventRequest, pb.WebhookEvent],
    ) -> pb.WebhookEvent:
        organization_id = auth.organization_id()
        event_id = wire.to_uuid("webhook_event_id", request.webhook_event_id)
        async with self._db.transaction(organization_id) as tx:
            event = await store.find_event(tx, organization_id, event_id)
            if event is not None and event.contact_id is not None:
                standing = await REDIRECTS.resolve(tx, [event.contact_id])
                event = replace(event, contact_id=standing[event.contact_id])
        if event is None:
            raise _no_event()
        return event_message(event)

    async def ReplayWebhookEvent(
        self,
        request: pb.ReplayWebhookEventRequest,
        context: grpc.aio.ServicerContext[pb.ReplayWebhookEventRequest, pb.WebhookEvent],
    ) -> pb.WebhookEvent:
        organization_id = auth.organization_id()
        event_id = wire.to_uuid("webhook_event_id", request.webhook_event_id)
        async with self._db.transaction(organization_id) as tx:
            event = await store.find_event(tx, organization_id, event_id, lock=True)
            if event is None:
                raise _no_event()
            if event.state == PENDING:
                raise FailedPrecondition(
                    "WEBHOOK_EVENT_PENDING", "The event waits to be processed already. Look at it again in a moment."
                )
            place = EventPlace(event.id, event.receive_time, event.ordering_key)
            await store.put_back(tx, organization_id, [place], self._wake_workers)
            event = await store.find_event(tx, organization_id, event_id)
        assert event is not None, "its row was held"
        answer = event_message(event)
        answer.ClearField("body")
        answer.ClearField("body_text")
        return answer

    async def ReplayWebhookEvents(
        self,
        request: pb.ReplayWebhookEventsRequest,
        context: grpc.aio.ServicerContext[pb.ReplayWebhookEventsRequest, pb.ReplayWebhookEventsResponse],
    ) -> pb.ReplayWebhookEventsResponse:
        organization_id = auth.organization_id()
        wanted = _replay_filter(request, self._clock.now())
        async with self._db.transaction(organization_id) as tx:
            groups = await store.count_by_reason(tx, organization_id, wanted)
        matched = sum(count for _, _, count in groups)
        answer = pb.ReplayWebhookEventsResponse(
            matched_count=matched,
            groups=[
                pb.ReplayGroup(state=_state_number(state), reason=reason, count=count)
                for state, reason, count in groups
            ],
        )
        if request.dry_run or not matched:
            return answer
        if matched > self._replay_events_max:
            # No use in waiting, as a limit that was reached would tell: the same range stays too large.
            raise InvalidArgument(
                "REPLAY_RANGE_TOO_LARGE",
                f"{matched} events match, and one call replays at most {self._replay_events_max}. Choose a shorter "
                "range, a connection or a reason.",
                matched_count=str(matched),
                limit=str(self._replay_events_max),
            )
        answer.replayed_count = await self._replay(organization_id, wanted)
        return answer

    async def _replay(self, organization_id: UUID, wanted: EventFilter) -> int:
        """Puts what matches back, oldest first and in chunks; each event once, however fast it comes out again.

        A call that ends half-way has put the older ones back; the same call takes care of the rest.
        """
        replayed, last = 0, None
        while replayed < self._replay_events_max:
            async with self._db.transaction(organization_id) as tx:
                limit = min(self._replay_chunk_events, self._replay_events_max - replayed)
                places = await store.lock_events(tx, organization_id, wanted, last, limit)
                await store.put_back(tx, organization_id, places, self._wake_workers)
            if not places:
                break
            replayed += len(places)
            last = places[-1].id
        return replayed


def event_message(event: StoredEvent) -> pb.WebhookEvent:
    """An event, with its body where it was read."""
    message = pb.WebhookEvent(
        webhook_event_id=str(event.id),
        organization_id=str(event.organization_id),
        connection_id=str(event.connection_id),
        provider=ingest_service_pb2.Provider.ValueType(number_of(event.provider)),
        event=event.event,
        state=_state_number(event.state),
        reason=event.reason,
        detail=event.detail,
        explanation=explain(event.reason, event.provider),
        attempt_count=event.attempt_count,
        receive_time=wire.to_timestamp(event.receive_time),
        process_time=wire.to_timestamp(event.process_time),
        contact_id=wire.text(event.contact_id),
        conversation_id=wire.text(event.conversation_id),
        deal_id=wire.text(event.deal_id),
        message_id=wire.text(event.message_id),
    )
    if event.body is not None:
        message.body = event.body
        message.body_text = _body_text(event.body)
    return message


def _body_text(body: bytes) -> str:
    if len(body) > BODY_TEXT_BYTES_MAX:
        return ""
    try:
        return body.decode()
    except UnicodeDecodeError:
        return ""


def _replay_filter(request: pb.ReplayWebhookEventsRequest, now: datetime) -> EventFilter:
    start_time = wire.from_timestamp(request.start_time)
    end_time = wire.from_timestamp(request.end_time) if request.HasField("end_time") else now
    if end_time <= start_time:
        raise _invalid_range("end_time", "end_time must lie after start_time; when unset, it is now.")
    state = wanted_text(pb.WebhookEventState, request.state) or DEAD_LETTER
    if state == PENDING:
        raise _invalid_range("state", "Events that are pending wait to be processed already.")
    return EventFilter(
        state=state,
        connection_id=wire.to_optional_uuid("connection_id", request.connection_id),
        start_time=start_time,
        end_time=end_time,
        reason=request.reason or None,
    )


def _invalid_range(field: str, sentence: str) -> ProsaError:
    return InvalidArgument("REPLAY_RANGE_INVALID", sentence, violations=[FieldViolation(field, sentence)])


def _no_event() -> ProsaError:
    return NotFound("WEBHOOK_EVENT_NOT_FOUND", "The organization has no such webhook event, or it has expired.")


def _state_number(state: str) -> pb.WebhookEventState.ValueType:
    return enum_number(pb.WebhookEventState, state)
