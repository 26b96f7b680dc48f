"""The deals that ensure answers, in SQL: one statement for a whole batch each, in the caller's transaction.

Ids are texts in their canonical form here: they come and go as such, and are keys of many a look-up in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from chassis.db import Tx
from services.crm.domain import DealState


class EnsureKey(NamedTuple):
    """What a deal is ensured for; sorts, so that batches lock in one order."""

    organization_id: str
    contact_id: str
    board_id: str


class BoardPlace(NamedTuple):
    """A board, the stage in which its new deals begin, and the labels of all its stages by their ids."""

    board_id: str
    first_stage_id: str
    labels: dict[str, str]


class OpenDeal(NamedTuple):
    """An open deal and the stage it is in."""

    deal_id: str
    stage_id: str


_KEYS = "%(organization_ids)b::text[]::uuid[], %(contact_ids)b::text[]::uuid[], %(board_ids)b::text[]::uuid[]"
_DEALS = "%(deal_ids)b::text[]::uuid[]"

# The first branch finds boards by id, the second the default boards of those who named none.
_FIND_BOARDS = """
select b.organization_id::text, b.named, b.id::text,
  array_agg(s.id::text order by s.position) as stage_ids,
  array_agg(s.label order by s.position) as labels,
  array_agg(s.deal_state order by s.position) as deal_states
from (
  select boards.organization_id, true as named, boards.id
  from unnest(%(organization_ids)b::text[]::uuid[], %(board_ids)b::text[]::uuid[])
    as wanted (organization_id, board_id)
  join crm.boards on boards.organization_id = wanted.organization_id and boards.id = wanted.board_id
  where boards.delete_time is null
  union all
  select organization_id, false, id from crm.boards
  where organization_id = any(%(default_organization_ids)b::text[]::uuid[]) and default_board
) b
join crm.stages s on s.organization_id = b.organization_id and s.board_id = b.id
group by b.organization_id, b.named, b.id
"""

# Labels are not joined here: where the planner pairs every key with all stages of its organization first, it is slow.
# A person's own deal comes before one of whom they stand for. A row may name the deal of somebody they stood for once.
_FIND_ENSURED = f"""
select wanted.place, d.id::text, d.stage_id::text, null as survivor, 0 as rank
from unnest({_KEYS})
  with ordinality as wanted (organization_id, contact_id, board_id, place)
join crm.ensured_deals e on e.organization_id = wanted.organization_id and e.contact_id = wanted.contact_id
  and e.board_id = wanted.board_id
join crm.deals d on d.organization_id = e.organization_id and d.id = e.deal_id and d.state = 'OPEN'
where d.contact_id = e.contact_id
union all
select wanted.place, d.id::text, d.stage_id::text, null, 1
from unnest({_KEYS})
  with ordinality as wanted (organization_id, contact_id, board_id, place)
join crm.contact_redirects r on r.organization_id = wanted.organization_id
  and r.surviving_contact_id = wanted.contact_id
join crm.deals d on d.organization_id = wanted.organization_id and d.contact_id = r.contact_id
  and d.board_id = wanted.board_id and d.state = 'OPEN'
union all
select wanted.place, null, null, r.surviving_contact_id::text, 2
from unnest({_KEYS})
  with ordinality as wanted (organization_id, contact_id, board_id, place)
join crm.contact_redirects r on r.organization_id = wanted.organization_id and r.contact_id = wanted.contact_id
where r.surviving_contact_id is not null
order by rank, 2
"""

# Claims the keys nobody had and locks the others; waits for whoever claims the same key just now. The update that
# changes nothing is what makes the row come back locked, in its newest version.
_CLAIM = f"""
insert into crm.ensured_deals as e (organization_id, contact_id, board_id, deal_id)
select * from unnest({_KEYS}, {_DEALS})
on conflict (organization_id, contact_id, board_id) do update set deal_id = e.deal_id
returning organization_id::text, contact_id::text, board_id::text, deal_id::text
"""

# The deal that was ensured before if it is still open, else the oldest open one.
_FIND_OPEN = f"""
select distinct on (wanted.place) wanted.place, d.id::text, d.stage_id::text
from unnest({_KEYS}, {_DEALS})
  with ordinality as wanted (organization_id, contact_id, board_id, deal_id, place)
join crm.deals d on d.organization_id = wanted.organization_id and d.contact_id = wanted.contact_id
  and d.board_id = wanted.board_id and d.state = 'OPEN'
order by wanted.place, (d.id = wanted.deal_id) desc, d.id
"""

_MOVE = f"""
update crm.ensured_deals e set deal_id = moved.deal_id
from unnest({_KEYS}, {_DEALS})
  as moved (organization_id, contact_id, board_id, deal_id)
where e.organization_id = moved.organization_id and e.contact_id = moved.contact_id and e.board_id = moved.board_id
"""


async def find_board_places(
    tx: Tx, wanted: Iterable[tuple[str, str | None]]
) -> dict[tuple[str, str | None], BoardPlace]:
    """The live boards of (organization, board); None for the board stands for the organization's default one."""
    pairs = set(wanted)
    named = [(organization_id, board_id) for organization_id, board_id in pairs if board_id is not None]
    found = await tx.execute(
        _FIND_BOARDS,
        {
            "organization_ids": [organization_id for organization_id, _ in named],
            "board_ids": [board_id for _, board_id in named],
            "default_organization_ids": [organization_id for organization_id, board_id in pairs if board_id is None],
        },
    )
    return {(row.organization_id, row.id if row.named else None): _place(row) for row in found}


async def find_ensured(
    tx: Tx, keys: Sequence[EnsureKey]
) -> tuple[dict[EnsureKey, OpenDeal], dict[EnsureKey, EnsureKey]]:
    """The ensured deals that are open, without waiting for anybody: the usual case, in which nothing is to be done.

    Beside them the keys of those for whom somebody else stands, each with that one's.
    """
    found = await tx.execute(_FIND_ENSURED, _key_arrays(keys))
    deals: dict[EnsureKey, OpenDeal] = {}
    redirected: dict[EnsureKey, EnsureKey] = {}
    for row in found:
        key = keys[row.place - 1]
        if row.survivor is not None:
            redirected[key] = key._replace(contact_id=row.survivor)
        else:
            deals.setdefault(key, OpenDeal(row.id, row.stage_id))
    return deals, redirected


async def claim(tx: Tx, proposed: Mapping[EnsureKey, str]) -> dict[EnsureKey, str]:
    """Holds the rows of these keys until commit, making those that are missing with the deal proposed.

    Answers the deal that each key then has: the proposed one where the key was nobody's.
    """
    keys = sorted(proposed)
    arrays = _key_arrays(keys) | {"deal_ids": [proposed[key] for key in keys]}
    held = await tx.execute(_CLAIM, arrays)
    return {EnsureKey(row.organization_id, row.contact_id, row.board_id): row.deal_id for row in held}


async def find_open(tx: Tx, held: Mapping[EnsureKey, str]) -> dict[EnsureKey, OpenDeal]:
    """The open deal of each key: the one it was ensured to while that is open, else the oldest made by hand."""
    keys = list(held)
    found = await tx.execute(_FIND_OPEN, _key_arrays(keys) | {"deal_ids": list(held.values())})
    return {keys[row.place - 1]: OpenDeal(row.id, row.stage_id) for row in found}


async def move(tx: Tx, moved: Mapping[EnsureKey, str]) -> None:
    """Lets keys that are held answer another deal from now on."""
    keys = list(moved)
    await tx.execute(_MOVE, _key_arrays(keys) | {"deal_ids": list(moved.values())})


def _key_arrays(keys: Sequence[EnsureKey]) -> dict[str, list[str]]:
    return {
        "organization_ids": [key.organization_id for key in keys],
        "contact_ids": [key.contact_id for key in keys],
        "board_ids": [key.board_id for key in keys],
    }


def _place(row: Any) -> BoardPlace:
    first = row.deal_states.index(DealState.OPEN)
    return BoardPlace(row.id, row.stage_ids[first], dict(zip(row.stage_ids, row.labels, strict=True)))
