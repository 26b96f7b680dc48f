"""CampaignService: translate, call, translate."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias
from uuid import UUID

import grpc

from chassis import auth, wire
from chassis.clock import Clock
from chassis.db import Database, Tx
from chassis.enums import wanted_text
from chassis.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound
from chassis.idempotency import IdempotencyStore
from chassis.ids import Ids
from chassis.outbox import Outbox
from chassis.paging import read_page
from chassis.queues.items import Place
from chassis.queues.queue import Queue
from prosa.outreach.v1 import campaign_service_pb2 as pb
from prosa.outreach.v1 import campaign_service_pb2_grpc as pb_grpc
from services.outreach.campaigns import channel_store, messages, store
from services.outreach.campaigns.channel_store import Channel
from services.outreach.campaigns.domain import (
    BY_HAND,
    ENDED,
    Campaign,
    CampaignState,
    Touch,
    TouchState,
    checked_text,
    filled,
)
from services.outreach.campaigns.limits import EXAMPLES_SHOWN
from services.outreach.campaigns.messages import conversation_key
from services.outreach.campaigns.running import tell
from services.outreach.domain import readable
from services.outreach.lists import list_store
from services.outreach.lists.limits import AUDIENCE_COUNTED_MAX
from services.outreach.sending import terms_store
from services.outreach.sending.kill_switch import Actor
from services.outreach.sending.terms import TERMS_VERSION

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
Change: TypeAlias = Callable[[Tx, Campaign], Awaitable[None]]


class CampaignServicer(pb_grpc.CampaignServiceServicer):
    """The campaigns of one organization."""

    def __init__(
        self, db: Database, outbox: Outbox, idempotency: IdempotencyStore, clock: Clock, ids: Ids, campaigns: Queue
    ) -> None:
        self._db, self._outbox, self._idempotency = db, outbox, idempotency
        self._clock, self._ids, self._campaigns = clock, ids, campaigns

    async def CreateCampaign(self, request: pb.CreateCampaignRequest, context: Context) -> pb.Campaign:
        caller, organization_id, now = auth.caller(), auth.organization_id(), self._clock.now()
        made = Campaign(
            organization_id=organization_id,
            id=self._ids.new(),
            name=readable(request.name),
            contact_list_id=wire.to_uuid("contact_list_id", request.contact_list_id),
            channel_id=wire.to_uuid("channel_id", request.channel_id),
            text=checked_text(request.text),
            actor=Actor(caller.principal, caller.name),
            create_time=now,
            start_time=wire.from_timestamp(request.start_time) if request.HasField("start_time") else None,
            end_time=wire.from_timestamp(request.end_time) if request.HasField("end_time") else None,
            stop_on_reply=request.stop_on_reply if request.HasField("stop_on_reply") else True,
        )
        if not made.name:
            raise InvalidArgument("FIELD_INVALID", "name must be more than blanks.")

        async def create(tx: Tx) -> pb.Campaign:
            if await list_store.find_list(tx, organization_id, made.contact_list_id) is None:
                raise NotFound("CONTACT_LIST_NOT_FOUND", "The organization has no such list.")
            await _channel(tx, organization_id, made.channel_id)
            await store.insert_campaign(tx, made)
            await tell(tx, self._outbox, made, now, always=True)
            return await _message(tx, made)

        return await self._idempotency.once(self._db, organization_id, request, pb.Campaign, now, create)

    async def GetCampaign(self, request: pb.GetCampaignRequest, context: Context) -> pb.Campaign:
        organization_id = auth.organization_id()
        campaign_id = wire.to_uuid("campaign_id", request.campaign_id)
        async with self._db.transaction(organization_id) as tx:
            return await _message(tx, await _find(tx, organization_id, campaign_id))

    async def ListCampaigns(self, request: pb.ListCampaignsRequest, context: Context) -> pb.ListCampaignsResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        state = wanted_text(pb.CampaignState, request.state)
        before = page.after_id()
        async with self._db.transaction(organization_id) as tx:
            found = await store.list_campaigns(tx, organization_id, state, before, page.size + 1)
            shown, token = page.cut(found, lambda kept: (kept.id,))
            tallies = await store.tallies(tx, organization_id, [kept.id for kept in shown])
        return pb.ListCampaignsResponse(
            campaigns=[messages.campaign_message(kept, tallies[kept.id]) for kept in shown], next_page_token=token
        )

    async def PreviewCampaign(self, request: pb.PreviewCampaignRequest, context: Context) -> pb.CampaignPreview:
        organization_id = auth.organization_id()
        campaign_id = wire.to_uuid("campaign_id", request.campaign_id)
        async with self._db.transaction(organization_id) as tx:
            kept = await _find(tx, organization_id, campaign_id)
            channel = await channel_store.find(tx, organization_id, kept.channel_id)
            audience, left_out = await _audience(tx, kept, channel)
            members = await list_store.list_members(tx, organization_id, kept.contact_list_id, None, EXAMPLES_SHOWN)
        examples = [
            Touch(
                organization_id,
                kept.id,
                member.contact_id,
                UUID(int=0),
                member.source,
                member.external_id,
                filled(kept.text, member.name),
                TouchState.SUPPRESSED if member.suppressed else TouchState.PLANNED,
            )
            for member in members
        ]
        preview = pb.CampaignPreview(audience_count=audience)
        for reason, count in sorted(left_out.items()):
            preview.left_out.add(reason=reason, count=count)
        for example in examples:
            message = messages.touch_message(example)
            # It is none yet.
            message.touch_id = ""
            preview.examples.append(message)
        return preview

    async def StartCampaign(self, request: pb.StartCampaignRequest, context: Context) -> pb.Campaign:
        async def begin(tx: Tx, kept: Campaign) -> None:
            if kept.state in ENDED:
                raise _ended()
            if request.etag and request.etag != str(kept.version):
                raise Aborted("ETAG_STALE", "The campaign is another by now. Read it again, then start it.")
            if kept.state in (CampaignState.PLANNING, CampaignState.RUNNING):
                return
            accepted = await terms_store.last_acceptance(tx, kept.organization_id)
            if accepted is None or accepted.terms_version != TERMS_VERSION:
                raise FailedPrecondition(
                    "TERMS_NOT_ACCEPTED", "An owner accepts the terms first: GET /api/v1/terms, then :accept."
                )
            await _channel(tx, kept.organization_id, kept.channel_id)
            if kept.state is CampaignState.DRAFT:
                await _somebody(tx, kept)
            # A pause may have come in the middle of planning, which goes on where it stood.
            kept.state = CampaignState.PLANNING
            kept.reason = ""
            await self._campaigns.remove(tx, [kept.id])
            await self._campaigns.put(tx, [Place(kept.id, kept.organization_id, str(kept.id))], self._clock.now())

        return await self._change(request, begin)

    async def PauseCampaign(self, request: pb.PauseCampaignRequest, context: Context) -> pb.Campaign:
        async def hold(tx: Tx, kept: Campaign) -> None:
            if kept.state in ENDED:
                raise _ended()
            if kept.state in (CampaignState.DRAFT, CampaignState.PAUSED):
                return
            kept.state, kept.reason = CampaignState.PAUSED, BY_HAND
            await self._take_back(tx, kept, "CAMPAIGN_PAUSED")

        return await self._change(request, hold)

    async def CancelCampaign(self, request: pb.CancelCampaignRequest, context: Context) -> pb.Campaign:
        async def end(tx: Tx, kept: Campaign) -> None:
            if kept.state is CampaignState.CANCELLED:
                return
            if kept.state is CampaignState.DONE:
                raise _ended()
            kept.state, kept.reason = CampaignState.CANCELLED, ""
            await store.cancel_planned(tx, kept, "CAMPAIGN_CANCELLED")
            await self._take_back(tx, kept, "CAMPAIGN_CANCELLED")

        return await self._change(request, end)

    async def ListTouches(self, request: pb.ListTouchesRequest, context: Context) -> pb.ListTouchesResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        campaign_id = wire.to_uuid("campaign_id", request.campaign_id)
        state = wanted_text(pb.TouchState, request.state)
        after = page.after_id()
        async with self._db.transaction(organization_id) as tx:
            await _find(tx, organization_id, campaign_id)
            found = await store.list_touches(tx, organization_id, campaign_id, state, after, page.size + 1)
        shown, token = page.cut(found, lambda touch: (touch.id,))
        return pb.ListTouchesResponse(touches=map(messages.touch_message, shown), next_page_token=token)

    async def _change(
        self, request: pb.StartCampaignRequest | pb.PauseCampaignRequest | pb.CancelCampaignRequest, change: Change
    ) -> pb.Campaign:
        organization_id, now = auth.organization_id(), self._clock.now()
        campaign_id = wire.to_uuid("campaign_id", request.campaign_id)

        async def work(tx: Tx) -> pb.Campaign:
            kept = await _find(tx, organization_id, campaign_id, lock=True)
            before = kept.state
            await change(tx, kept)
            if kept.state is not before:
                await tell(tx, self._outbox, kept, now, always=True)
            return await _message(tx, kept)

        return await self._idempotency.once(self._db, organization_id, request, pb.Campaign, now, work)

    async def _take_back(self, tx: Tx, kept: Campaign, reason: str) -> None:
        """Nothing more is handed over, and what conversation has not asked of the provider yet comes back."""
        await self._campaigns.remove(tx, [kept.id])
        pairs, facts = [], []
        for touch in await store.lock_waiting(tx, kept, TouchState.HANDED_OVER):
            before = copy.copy(touch)
            touch.withdraw_reason = reason
            facts.append(messages.send_withdrawn(touch))
            pairs.append((before, touch))
        await store.update_touches(tx, kept.organization_id, pairs)
        await self._outbox.add(tx, facts, self._clock.now())


async def _find(tx: Tx, organization_id: UUID, campaign_id: UUID, *, lock: bool = False) -> Campaign:
    found = await store.find_campaign(tx, organization_id, campaign_id, lock=lock)
    if found is None:
        raise NotFound("CAMPAIGN_NOT_FOUND", "The organization has no such campaign.")
    return found


async def _channel(tx: Tx, organization_id: UUID, channel_id: UUID) -> Channel:
    found = await channel_store.find(tx, organization_id, channel_id)
    if found is None:
        raise NotFound(
            "CHANNEL_NOT_FOUND",
            "The organization has no such channel. One that is new is known here in a second.",
        )
    return found


async def _somebody(tx: Tx, kept: Campaign) -> None:
    """Raises FailedPrecondition AUDIENCE_EMPTY where nobody of the list may be written to."""
    counted = 0
    async for page in list_store.read_audience(tx, kept.organization_id, kept.contact_list_id):
        counted += len(page)
        if not all(member.suppressed for member in page):
            return
    if counted < AUDIENCE_COUNTED_MAX:
        raise FailedPrecondition("AUDIENCE_EMPTY", "Nobody of the list may be written to.")


async def _audience(tx: Tx, kept: Campaign, channel: Channel | None) -> tuple[int, Counter[str]]:
    """How many contacts the list has, and how many of those that were counted would get nothing, by reason."""
    counted, left_out = 0, Counter[str]()
    async for page in list_store.read_audience(tx, kept.organization_id, kept.contact_list_id):
        counted += len(page)
        free = [member for member in page if not member.suppressed]
        left_out["SUPPRESSED"] += len(page) - len(free)
        if channel is None:
            continue
        reached = [member for member in free if member.source == channel.source]
        left_out["ADDRESS_MISSING"] += len(free) - len(reached)
        if not channel.begins_conversations and reached:
            keys = [conversation_key(member.source, member.external_id) for member in reached]
            known = await channel_store.with_thread(tx, channel, set(keys))
            left_out["CONVERSATION_MISSING"] += sum(key not in known for key in keys)
    listed = await list_store.find_list(tx, kept.organization_id, kept.contact_list_id)
    if listed is not None and counted >= AUDIENCE_COUNTED_MAX:
        counted = max(counted, listed.member_count)
    return counted, +left_out


async def _message(tx: Tx, kept: Campaign) -> pb.Campaign:
    tally = (await store.tallies(tx, kept.organization_id, [kept.id]))[kept.id]
    return messages.campaign_message(kept, tally)


def _ended() -> FailedPrecondition:
    return FailedPrecondition("CAMPAIGN_ENDED", "The campaign has ended. Make another one.")
