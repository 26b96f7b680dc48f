"""Campaigns, touches and their counts in SQL; every function runs in the caller's transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from chassis.db import Tx
from chassis.redirects import Redirects
from services.outreach.campaigns.domain import Campaign, CampaignState, Tally, Touch, TouchState
from services.outreach.lists.domain import Member
from services.outreach.sending.kill_switch import Actor
from services.outreach.store import suppressed

REDIRECTS = Redirects("outreach")
REPLIED, OPTED_OUT = "REPLIED", "OPTED_OUT"

_CHANGING = ("state", "reason", "planned_after", "tell_time", "version")
_CAMPAIGN = (
    *("organization_id", "id", "name", "contact_list_id", "channel_id", "text", "create_time"),
    *("start_time", "end_time", "stop_on_reply"),
    *_CHANGING,
)
_FIND = (
    f"select {', '.join(_CAMPAIGN)}, principal, principal_name from outreach.campaigns"
    " where organization_id = %(organization_id)s"
)
_INSERT = f"""
insert into outreach.campaigns ({", ".join(_CAMPAIGN)}, principal, principal_name)
values ({", ".join(f"%({column})s" for column in _CAMPAIGN)}, %(principal)s, %(principal_name)s)
"""
_UPDATE = f"""
update outreach.campaigns set {", ".join(f"{column} = %({column})s" for column in _CHANGING)}
where organization_id = %(organization_id)s and id = %(id)s
"""

_TOUCH = (
    *("organization_id", "campaign_id", "contact_id", "id", "source", "external_id", "text"),
    *("state", "reason", "explanation", "retry_time", "hand_count", "withdraw_reason", "delivery_version"),
    *("send_time", "reply_time", "opted_out"),
)
_TOUCH_TYPES = {"retry_time": "timestamptz", "hand_count": "bigint", "delivery_version": "bigint"} | {
    "send_time": "timestamptz",
    "reply_time": "timestamptz",
    "opted_out": "boolean",
}
_TOUCH_CHANGING = _TOUCH[7:]
_READ_TOUCH = ", ".join(f"touches.{column}" for column in _TOUCH)

_INSERT_TOUCHES = """
insert into outreach.touches (organization_id, campaign_id, contact_id, id, source, external_id, text, state, reason,
  explanation, hand_count, withdraw_reason, delivery_version, opted_out)
select %(organization_id)s, %(campaign_id)s, touch.*, 'PLANNED', '', '', 0, '', 0, false
from unnest(%(contact_ids)b::uuid[], %(ids)b::uuid[], %(sources)b::text[], %(external_ids)b::text[],
  %(texts)b::text[]) as touch
on conflict (organization_id, campaign_id, contact_id) do nothing
"""

_UPDATE_TOUCHES = f"""
update outreach.touches set {", ".join(f"{column} = changed.{column}" for column in _TOUCH_CHANGING)}
from unnest(%(ids)b::uuid[], {", ".join(f"%({c})b::{_TOUCH_TYPES.get(c, 'text')}[]" for c in _TOUCH_CHANGING)})
  as changed (id, {", ".join(_TOUCH_CHANGING)})
where touches.organization_id = %(organization_id)s and touches.id = changed.id
"""

_COUNT = """
insert into outreach.touch_counts (organization_id, campaign_id, state, reason, count)
select %(organization_id)s, counted.* from unnest(%(campaign_ids)b::uuid[], %(states)b::text[], %(reasons)b::text[],
  %(counts)b::bigint[]) as counted
on conflict (organization_id, campaign_id, state, reason) do update set count = touch_counts.count + excluded.count
"""

_SUPPRESSED = suppressed("touches.organization_id", "touches.source", "touches.external_id", "touches.contact_id")


async def insert_campaign(tx: Tx, made: Campaign) -> None:
    """Writes a new campaign."""
    await tx.execute(_INSERT, _campaign_values(made))


async def find_campaign(tx: Tx, organization_id: UUID, campaign_id: UUID, *, lock: bool = False) -> Campaign | None:
    """One of the organization's campaigns, held until commit where it is to be changed."""
    locking = " for update" if lock else ""
    found = await tx.execute(
        f"{_FIND} and id = %(id)s{locking}", {"organization_id": organization_id, "id": campaign_id}
    )
    row = found.one_or_none()
    return None if row is None else _campaign(row)


async def list_campaigns(
    tx: Tx, organization_id: UUID, state: str | None, before: UUID | None, row_limit: int
) -> list[Campaign]:
    """Campaigns older than ``before``, newest first."""
    values: dict[str, object] = {"organization_id": organization_id, "row_limit": row_limit}
    conditions = ""
    if state is not None:
        conditions += " and state = %(state)s"
        values["state"] = state
    if before is not None:
        conditions += " and id < %(before)s"
        values["before"] = before
    found = await tx.execute(f"{_FIND}{conditions} order by id desc limit %(row_limit)s", values)
    return [_campaign(row) for row in found]


async def update_campaign(tx: Tx, changed: Campaign) -> None:
    """Writes a campaign that is held."""
    await tx.execute(_UPDATE, _campaign_values(changed))


async def insert_touches(tx: Tx, campaign: Campaign, planned: Sequence[tuple[UUID, Member, str]]) -> None:
    """Plans touches, each with its id, contact and text; who has one already keeps it."""
    inserted = await tx.execute(
        _INSERT_TOUCHES,
        {
            "organization_id": campaign.organization_id,
            "campaign_id": campaign.id,
            "contact_ids": [member.contact_id for _, member, _ in planned],
            "ids": [touch_id for touch_id, _, _ in planned],
            "sources": [member.source for _, member, _ in planned],
            "external_ids": [member.external_id for _, member, _ in planned],
            "texts": [text for _, _, text in planned],
        },
    )
    await _count(tx, campaign.organization_id, {(campaign.id, TouchState.PLANNED.value, ""): inserted.rowcount})


async def next_planned(tx: Tx, campaign: Campaign, row_limit: int) -> list[tuple[Touch, bool]]:
    """Touches that are not handed over, in the order of planning, held; each with whether its contact is suppressed."""
    found = await tx.execute(
        f"select {_READ_TOUCH}, {_SUPPRESSED} as suppressed from outreach.touches"
        " where organization_id = %(organization_id)s and campaign_id = %(campaign_id)s and state = 'PLANNED'"
        " order by id limit %(row_limit)s for update of touches",
        {"organization_id": campaign.organization_id, "campaign_id": campaign.id, "row_limit": row_limit},
    )
    return [(_touch(row), row.suppressed) for row in found]


async def hold_campaigns(
    tx: Tx, organization_id: UUID, *, touch_ids: Collection[UUID] = (), contact_ids: Collection[UUID] = ()
) -> bool:
    """Holds the campaigns of touches, before the touches as everybody does; answers whether there are any."""
    found = await tx.execute(
        "select id from outreach.campaigns where organization_id = %(organization_id)s and id in ("
        "select campaign_id from outreach.touches where organization_id = %(organization_id)s"
        " and (id = any (%(ids)b::uuid[]) or contact_id = any (%(contact_ids)b::uuid[]))) order by id for update",
        {"organization_id": organization_id, "ids": sorted(touch_ids), "contact_ids": sorted(contact_ids)},
    )
    return found.first() is not None


async def lock_touches(tx: Tx, organization_id: UUID, touch_ids: Collection[UUID]) -> dict[UUID, Touch]:
    """Touches by id, held until commit."""
    if not await hold_campaigns(tx, organization_id, touch_ids=touch_ids):
        return {}
    found = await tx.execute(
        f"select {_READ_TOUCH} from outreach.touches where organization_id = %(organization_id)s"
        " and id = any (%(ids)b) order by id for update",
        {"organization_id": organization_id, "ids": sorted(touch_ids)},
    )
    return {row.id: _touch(row) for row in found}


async def lock_waiting(tx: Tx, campaign: Campaign, state: TouchState) -> list[Touch]:
    """A campaign's touches in a state, held until commit."""
    found = await tx.execute(
        f"select {_READ_TOUCH} from outreach.touches where organization_id = %(organization_id)s"
        " and campaign_id = %(campaign_id)s and state = %(state)s order by id for update",
        {"organization_id": campaign.organization_id, "campaign_id": campaign.id, "state": state.value},
    )
    return [_touch(row) for row in found]


async def lock_of_contacts(tx: Tx, organization_id: UUID, contact_ids: Collection[UUID]) -> list[Touch]:
    """Touches of contacts, under just these ids, held; those that nobody has answered, or that still wait."""
    if not await hold_campaigns(tx, organization_id, contact_ids=contact_ids):
        return []
    found = await tx.execute(
        f"select {_READ_TOUCH} from outreach.touches where organization_id = %(organization_id)s"
        " and contact_id = any (%(contact_ids)b::uuid[]) and (reply_time is null or not opted_out)"
        " order by id for update",
        {
            "organization_id": organization_id,
            "contact_ids": sorted(contact_ids),
        },
    )
    return [_touch(row) for row in found]


async def cancel_planned(tx: Tx, campaign: Campaign, reason: str) -> None:
    """Ends what was not handed over."""
    cancelled = await tx.execute(
        "update outreach.touches set state = 'CANCELLED', reason = %(reason)s"
        " where organization_id = %(organization_id)s and campaign_id = %(campaign_id)s and state = 'PLANNED'",
        {"organization_id": campaign.organization_id, "campaign_id": campaign.id, "reason": reason},
    )
    key = campaign.id
    await _count(
        tx,
        campaign.organization_id,
        {(key, "PLANNED", ""): -cancelled.rowcount, (key, "CANCELLED", reason): cancelled.rowcount},
    )


async def update_touches(tx: Tx, organization_id: UUID, pairs: Iterable[tuple[Touch, Touch]]) -> None:
    """Writes touches that are held, each as it was and as it is, and what they count."""
    changed = [(before, after) for before, after in pairs if before != after]
    if not changed:
        return
    values: dict[str, object] = {"organization_id": organization_id, "ids": [after.id for _, after in changed]}
    for column in _TOUCH_CHANGING:
        values[column] = [getattr(after, column) for _, after in changed]
    await tx.execute(_UPDATE_TOUCHES, values)
    deltas: Counter[tuple[UUID, str, str]] = Counter()
    for before, after in changed:
        deltas[(before.campaign_id, before.state.value, before.reason)] -= 1
        deltas[(after.campaign_id, after.state.value, after.reason)] += 1
        deltas[(after.campaign_id, REPLIED, "")] += (after.reply_time is not None) - (before.reply_time is not None)
        deltas[(after.campaign_id, OPTED_OUT, "")] += after.opted_out - before.opted_out
    await _count(tx, organization_id, deltas)


async def tallies(tx: Tx, organization_id: UUID, campaign_ids: Collection[UUID]) -> dict[UUID, Tally]:
    """The counts of campaigns."""
    found = {campaign_id: Tally() for campaign_id in campaign_ids}
    for row in await tx.execute(
        "select campaign_id, state, reason, count from outreach.touch_counts"
        " where organization_id = %(organization_id)s and campaign_id = any (%(ids)b) and count > 0",
        {"organization_id": organization_id, "ids": list(campaign_ids)},
    ):
        found[row.campaign_id].by_state[(row.state, row.reason)] = row.count
    return found


async def list_touches(
    tx: Tx, organization_id: UUID, campaign_id: UUID, state: str | None, after: UUID | None, row_limit: int
) -> list[Touch]:
    """Touches by the order of planning."""
    values: dict[str, object] = {
        "organization_id": organization_id,
        "campaign_id": campaign_id,
        "row_limit": row_limit,
    }
    conditions = ""
    if state is not None:
        conditions += " and state = %(state)s"
        values["state"] = state
    if after is not None:
        conditions += " and id > %(after)s"
        values["after"] = after
    found = await tx.execute(
        f"select {_READ_TOUCH}, {REDIRECTS.survivor_of('touches.contact_id', 'touches.organization_id')} as survivor"
        " from outreach.touches where organization_id = %(organization_id)s and campaign_id = %(campaign_id)s"
        f"{conditions} order by id limit %(row_limit)s",
        values,
    )
    return [replace(_touch(row), contact_id=row.survivor) for row in found]


async def _count(tx: Tx, organization_id: UUID, deltas: dict[tuple[UUID, str, str], int]) -> None:
    counted = sorted((key, delta) for key, delta in deltas.items() if delta)
    if not counted:
        return
    await tx.execute(
        _COUNT,
        {
            "organization_id": organization_id,
            "campaign_ids": [key[0] for key, _ in counted],
            "states": [key[1] for key, _ in counted],
            "reasons": [key[2] for key, _ in counted],
            "counts": [delta for _, delta in counted],
        },
    )


def _campaign_values(kept: Campaign) -> dict[str, object]:
    values: dict[str, object] = {column: getattr(kept, column) for column in _CAMPAIGN}
    return values | {
        "state": kept.state.value,
        "principal": kept.actor.principal,
        "principal_name": kept.actor.name,
    }


def _campaign(row: Any) -> Campaign:
    values = {column: getattr(row, column) for column in _CAMPAIGN} | {"state": CampaignState(row.state)}
    return Campaign(**values, actor=Actor(row.principal, row.principal_name))


def _touch(row: Any) -> Touch:
    return Touch(**({column: getattr(row, column) for column in _TOUCH} | {"state": TouchState(row.state)}))
