"""Plans the touches of campaigns, and hands over what a number may send within the next minutes.

What waits here can be held or cancelled at once, so no more than that is with conversation at a time.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from datetime import datetime, timedelta

from chassis.clock import Clock
from chassis.db import Database, Tx
from chassis.ids import Ids
from chassis.outbox import Outbox
from chassis.queues.items import Done, Item, Outcome, Retry
from chassis.queues.queue import Queue
from chassis.queues.worker import Fence, Handler
from services.outreach.campaigns import messages, store
from services.outreach.campaigns.domain import WAITING, Campaign, CampaignState, TouchState, ahead, filled
from services.outreach.campaigns.limits import HANDED_AT_ONCE, LOOK_AGAIN, PLANNED_AT_ONCE, TELL_SECONDS
from services.outreach.lists import list_store
from services.outreach.sending import policy_store

CAMPAIGNS = Queue("touch_queue", "outreach", timed=True)
"""One item for each campaign that has touches to plan or to hand over; its key is the campaign."""


class Running(Handler[Item]):
    """Works off campaigns that were started."""

    def __init__(self, db: Database, outbox: Outbox, clock: Clock, ids: Ids) -> None:
        self._db, self._outbox, self._clock, self._ids = db, outbox, clock, ids

    async def work(self, items: Sequence[Item], fence: Fence) -> Sequence[Outcome[Item]]:
        """Brings each campaign as far as it may go now."""
        return [await self._run(item, fence) for item in items]

    async def _run(self, item: Item, fence: Fence) -> Outcome[Item]:
        while True:
            async with self._db.transaction(item.organization_id) as tx:
                await fence(tx)
                now = self._clock.now()
                campaign = await store.find_campaign(tx, item.organization_id, item.item_id, lock=True)
                if campaign is None or campaign.state not in (CampaignState.PLANNING, CampaignState.RUNNING):
                    return Done(item)
                if campaign.state is CampaignState.PLANNING:
                    await self._plan(tx, campaign, now)
                    continue
                if campaign.start_time is not None and campaign.start_time > now:
                    return Retry(item, campaign.start_time, counted=False, gives_way=True)
                if await self._hand_over(tx, campaign, now):
                    # Somebody's answer, a pause or the next minutes bring it on.
                    return Retry(item, now + LOOK_AGAIN, counted=False, gives_way=True)
                return Done(item)

    async def _plan(self, tx: Tx, campaign: Campaign, now: datetime) -> None:
        """Plans the next contacts of the list, their texts fixed from now on."""
        members = await list_store.list_members(
            tx, campaign.organization_id, campaign.contact_list_id, campaign.planned_after, PLANNED_AT_ONCE
        )
        planned = [(self._ids.new(), member, filled(campaign.text, member.name)) for member in members]
        await store.insert_touches(tx, campaign, planned)
        if members:
            campaign.planned_after = members[-1].id
            await store.update_campaign(tx, campaign)
            return
        campaign.state = CampaignState.RUNNING
        await tell(tx, self._outbox, campaign, now, always=True)

    async def _hand_over(self, tx: Tx, campaign: Campaign, now: datetime) -> bool:
        """Hands over as many as may be sent soon; answers whether more are left."""
        if campaign.end_time is not None and campaign.end_time <= now:
            await store.cancel_planned(tx, campaign, "TOO_LATE")
        policy = await policy_store.find_policy(tx, campaign.organization_id)
        tally = (await store.tallies(tx, campaign.organization_id, [campaign.id]))[campaign.id]
        free = min(ahead(policy) - tally.of(TouchState.HANDED_OVER), HANDED_AT_ONCE)
        due = await store.next_planned(tx, campaign, free) if free > 0 else []
        pairs, facts = [], []
        for touch, suppressed in due:
            before = copy.copy(touch)
            if suppressed:
                touch.state, touch.reason = TouchState.SUPPRESSED, "SUPPRESSED"
                touch.explanation = "The contact asked for no more messages."
            else:
                touch.state, touch.hand_count, touch.delivery_version = TouchState.HANDED_OVER, touch.hand_count + 1, 0
                touch.withdraw_reason = ""
                facts.append(messages.send_due(campaign, touch))
            pairs.append((before, touch))
        await store.update_touches(tx, campaign.organization_id, pairs)
        await self._outbox.add(tx, facts, now)
        await tell(tx, self._outbox, campaign, now, always=False)
        left = (await store.tallies(tx, campaign.organization_id, [campaign.id]))[campaign.id]
        return left.of(TouchState.PLANNED) > 0


async def tell(tx: Tx, outbox: Outbox, campaign: Campaign, now: datetime, *, always: bool) -> None:
    """Writes a campaign that is held, done where nothing of it waits, and tells of it, at most once a second."""
    tally = (await store.tallies(tx, campaign.organization_id, [campaign.id]))[campaign.id]
    if campaign.state is CampaignState.RUNNING and not tally.of(*WAITING):
        campaign.state, always = CampaignState.DONE, True
    if always or campaign.tell_time is None or now - campaign.tell_time >= timedelta(seconds=TELL_SECONDS):
        campaign.version += 1
        campaign.tell_time = now
        await outbox.add(tx, [messages.campaign_changed(campaign, tally)], now)
    await store.update_campaign(tx, campaign)
