"""Follows what becomes of touches: what conversation tells of their deliveries, and what contacts write."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from chassis import wire
from chassis.clock import Clock
from chassis.db import Tx
from chassis.enums import enum_text
from chassis.outbox import Outbox
from chassis.queues.items import Place
from chassis.queues.queue import Queue
from chassis.subscriptions import ConsumedEvent
from prosa.conversation.v1 import conversation_service_pb2 as conversation_pb
from prosa.conversation.v1.events_pb2 import MessageReceived, MessageSent, MessageUpdated, SendRefused
from services.outreach.campaigns import messages, store
from services.outreach.campaigns.domain import CampaignState, Told, Touch, TouchState, follow
from services.outreach.campaigns.running import tell

_CAUSE = "touch:"


class Touches:
    """Keeps touches where their deliveries are."""

    def __init__(self, outbox: Outbox, campaigns: Queue, clock: Clock) -> None:
        self._outbox, self._campaigns, self._clock = outbox, campaigns, clock

    async def on_message_updated(self, tx: Tx, events: Sequence[ConsumedEvent[MessageUpdated]]) -> None:
        """A delivery waits, failed, was read …"""
        await self._told(tx, [(event.organization_id, event.message.message.delivery) for event in events])

    async def on_message_sent(self, tx: Tx, events: Sequence[ConsumedEvent[MessageSent]]) -> None:
        """A delivery left."""
        await self._told(tx, [(event.organization_id, event.message.message.delivery) for event in events])

    async def on_send_refused(self, tx: Tx, events: Sequence[ConsumedEvent[SendRefused]]) -> None:
        """There was never a delivery."""
        refused = [
            conversation_pb.Delivery(
                delivery_id=event.message.send_id,
                state=conversation_pb.MESSAGE_STATE_FAILED,
                reason=event.message.reason,
                explanation=event.message.explanation,
                cause=event.message.cause,
                version=1,
            )
            for event in events
        ]
        await self._told(tx, [(event.organization_id, told) for event, told in zip(events, refused, strict=True)])

    async def on_message_received(self, tx: Tx, events: Sequence[ConsumedEvent[MessageReceived]]) -> None:
        """Who writes after a touch has answered it."""
        wrote: dict[UUID, dict[UUID, datetime]] = {}
        for event in events:
            received = event.message
            if received.contact_id and received.message.author == conversation_pb.MESSAGE_AUTHOR_CONTACT:
                times = wrote.setdefault(event.organization_id, {})
                contact_id = wire.to_uuid("contact_id", received.contact_id)
                moment = wire.from_timestamp(received.message.create_time)
                times[contact_id] = max(times.get(contact_id, moment), moment)
        for organization_id, times in sorted(wrote.items()):
            latest = await self._latest(tx, times)
            found = await store.lock_of_contacts(tx, organization_id, latest)
            pairs = []
            for touch in found:
                last = latest.get(touch.contact_id)
                # Providers tell whole seconds.
                sent = None if touch.send_time is None else touch.send_time.replace(microsecond=0)
                answered = sent is not None and last is not None and last >= sent
                if touch.reply_time is None and answered:
                    before = copy.copy(touch)
                    touch.reply_time = last
                    pairs.append((before, touch))
            await self._write(tx, organization_id, pairs)

    async def leave_alone(self, tx: Tx, organization_id: UUID, contact_ids: Collection[UUID]) -> None:
        """Ends what waits for contacts who asked for no more messages, and notes it at what was sent."""
        together = await store.REDIRECTS.each_one_with(tx, sorted(contact_ids))
        persons = {each: ids[0] for ids in together.values() for each in ids}
        found = await store.lock_of_contacts(tx, organization_id, persons)
        # What was asked for follows on the last one, whether or not its delivery's news have come already.
        answered: dict[UUID, UUID] = {}
        for touch in found:
            if touch.hand_count:
                person = persons[touch.contact_id]
                answered[person] = max(answered.get(person, touch.id), touch.id)
        pairs, facts = [], []
        for touch in found:
            before = copy.copy(touch)
            touch.opted_out = touch.opted_out or touch.id == answered.get(persons[touch.contact_id])
            if touch.state is TouchState.PLANNED:
                touch.state, touch.reason = TouchState.SUPPRESSED, "SUPPRESSED"
                touch.explanation = "The contact asked for no more messages."
            elif touch.state is TouchState.HANDED_OVER:
                touch.withdraw_reason = "SUPPRESSED"
                facts.append(messages.send_withdrawn(touch))
            pairs.append((before, touch))
        await self._outbox.add(tx, facts, self._clock.now())
        await self._write(tx, organization_id, pairs)

    async def _latest(self, tx: Tx, times: dict[UUID, datetime]) -> dict[UUID, datetime]:
        """When each contact last wrote, under all ids that are one with it: a message may name any of them."""
        latest: dict[UUID, datetime] = {}
        for contact_id, together in (await store.REDIRECTS.each_one_with(tx, times)).items():
            for each in together:
                latest[each] = max(latest.get(each, times[contact_id]), times[contact_id])
        return latest

    async def _told(self, tx: Tx, deliveries: Sequence[tuple[UUID, conversation_pb.Delivery]]) -> None:
        told: dict[UUID, list[tuple[UUID, Told]]] = {}
        for organization_id, delivery in deliveries:
            if delivery.cause.startswith(_CAUSE):
                touch_id = wire.to_uuid("cause", delivery.cause.removeprefix(_CAUSE))
                told.setdefault(organization_id, []).append((touch_id, _told(delivery)))
        for organization_id, news in sorted(told.items()):
            touches = await store.lock_touches(tx, organization_id, {touch_id for touch_id, _ in news})
            before = {touch_id: copy.copy(touch) for touch_id, touch in touches.items()}
            for touch_id, each in news:
                if touch_id in touches:
                    follow(touches[touch_id], each)
            await self._write(tx, organization_id, [(before[key], touches[key]) for key in touches])

    async def _write(self, tx: Tx, organization_id: UUID, pairs: Collection[tuple[Touch, Touch]]) -> None:
        changed = [(before, after) for before, after in pairs if before != after]
        if not changed:
            return
        await store.update_touches(tx, organization_id, changed)
        now = self._clock.now()
        planned_anew = {after.campaign_id for _, after in changed if after.state is TouchState.PLANNED}
        for campaign_id in sorted({after.campaign_id for _, after in changed}):
            campaign = await store.find_campaign(tx, organization_id, campaign_id, lock=True)
            if campaign is None:
                continue
            if campaign_id in planned_anew and campaign.state is CampaignState.RUNNING:
                # Taken out first: whoever has it in hand just now takes out only what they found.
                await self._campaigns.remove(tx, [campaign.id])
                await self._campaigns.put(tx, [Place(campaign.id, organization_id, str(campaign.id))], now)
            await tell(tx, self._outbox, campaign, now, always=False)


def _told(delivery: conversation_pb.Delivery) -> Told:
    return Told(
        delivery_id=wire.to_uuid("delivery_id", delivery.delivery_id),
        state=enum_text(conversation_pb.MessageState, delivery.state),
        reason=delivery.reason,
        explanation=delivery.explanation,
        version=delivery.version,
        retry_time=wire.from_timestamp(delivery.retry_time) if delivery.HasField("retry_time") else None,
        send_time=wire.from_timestamp(delivery.send_time) if delivery.HasField("send_time") else None,
    )
