"""Boards and their stages in SQL; every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import orjson

from chassis.db import Tx, refused_by
from chassis.errors import AlreadyExists
from services.crm.domain import Board, DealState, Stage, is_uuid

_BOARD_COLUMNS = """
  b.organization_id, b.id, b.key, b.name, b.default_board, b.version, b.create_time,
  array_agg(s.id order by s.position) as stage_ids,
  array_agg(s.label order by s.position) as labels,
  array_agg(s.position order by s.position) as positions,
  array_agg(s.color order by s.position) as colors,
  array_agg(s.deal_state order by s.position) as deal_states,
  -- An array of arrays cannot hold lists of different lengths.
  json_agg(s.aliases order by s.position) as aliases
"""

_FIND_ONE = f"""
select {_BOARD_COLUMNS}
from crm.boards b join crm.stages s on s.organization_id = b.organization_id and s.board_id = b.id
where b.organization_id = %(organization_id)s and b.delete_time is null and {{condition}}
group by b.organization_id, b.id
"""
_FIND_BY_ID = _FIND_ONE.format(condition="b.id = %(wanted)s")
_FIND_BY_KEY = _FIND_ONE.format(condition="b.key = %(wanted)s")
_FIND_DEFAULT = _FIND_ONE.format(condition="b.default_board")

_LIST = f"""
select {_BOARD_COLUMNS}
from (
  select * from crm.boards
  where organization_id = %(organization_id)s and delete_time is null and id > %(after)s
  order by id limit %(row_limit)s
) b join crm.stages s on s.organization_id = b.organization_id and s.board_id = b.id
group by b.organization_id, b.id, b.key, b.name, b.default_board, b.version, b.create_time
order by b.id
"""

_LOCK = """
select pg_advisory_xact_lock(hashtextextended('crm.boards:' || organization_id, 0))
from unnest(%(organization_ids)b::uuid[]) as wanted (organization_id)
"""

_COUNT = """
select organization_id from crm.boards
where organization_id = any(%(organization_ids)b::uuid[]) and delete_time is null
group by organization_id
"""

_INSERT_BOARDS = """
insert into crm.boards (organization_id, id, key, name, default_board, version, create_time)
select organization_id, id, key, name, default_board, version, create_time
from unnest(%(organization_ids)b::uuid[], %(ids)b::uuid[], %(keys)b::text[], %(names)b::text[],
            %(default_boards)b::boolean[], %(versions)b::bigint[], %(create_times)b::timestamptz[])
  as made (organization_id, id, key, name, default_board, version, create_time)
"""

_INSERT_STAGES = """
insert into crm.stages (organization_id, id, board_id, label, position, color, deal_state, aliases)
select organization_id, id, board_id, label, position, color, deal_state,
       array(select json_array_elements_text(aliases::json))
from unnest(%(organization_ids)b::uuid[], %(ids)b::uuid[], %(board_ids)b::uuid[], %(labels)b::text[],
            %(positions)b::int[], %(colors)b::text[], %(deal_states)b::text[], %(aliases)b::text[])
  as made (organization_id, id, board_id, label, position, color, deal_state, aliases)
"""

_CLEAR_DEFAULT = """
update crm.boards set default_board = false, version = version + 1
where organization_id = %(organization_id)s and default_board
"""


async def lock_boards(tx: Tx, organization_ids: Iterable[UUID]) -> None:
    """Makes everybody else who would add a board to these organizations wait until commit.

    An organization that has no board has no row to lock, hence a lock by name.
    """
    await tx.execute(_LOCK, {"organization_ids": sorted(set(organization_ids))})


async def having_boards(tx: Tx, organization_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the organizations that have a board."""
    found = await tx.execute(_COUNT, {"organization_ids": list(organization_ids)})
    return {row.organization_id for row in found}


async def find_board(tx: Tx, organization_id: UUID, id_or_key: str) -> Board | None:
    """A live board by its id or key; the default board where the text is empty."""
    wanted: Any = id_or_key
    if not id_or_key:
        statement = _FIND_DEFAULT
    elif is_uuid(id_or_key):
        statement, wanted = _FIND_BY_ID, UUID(id_or_key)
    else:
        statement = _FIND_BY_KEY
    found = await tx.execute(statement, {"organization_id": organization_id, "wanted": wanted})
    row = found.one_or_none()
    return None if row is None else _board(row)


async def list_boards(tx: Tx, organization_id: UUID, after: UUID, row_limit: int) -> list[Board]:
    """Live boards after an id, in the order in which they were made."""
    found = await tx.execute(_LIST, {"organization_id": organization_id, "after": after, "row_limit": row_limit})
    return [_board(row) for row in found]


async def insert_boards(tx: Tx, boards: Sequence[Board]) -> None:
    """Writes boards with their stages. Raises AlreadyExists BOARD_KEY_TAKEN."""
    taken = AlreadyExists("BOARD_KEY_TAKEN", "Another board has this key. Choose a different one.")
    with refused_by("boards_live_key", taken):
        await tx.execute(
            _INSERT_BOARDS,
            {
                "organization_ids": [board.organization_id for board in boards],
                "ids": [board.id for board in boards],
                "keys": [board.key for board in boards],
                "names": [board.name for board in boards],
                "default_boards": [board.default_board for board in boards],
                "versions": [board.version for board in boards],
                "create_times": [board.create_time for board in boards],
            },
        )
    places = [(board, stage) for board in boards for stage in board.stages]
    await tx.execute(
        _INSERT_STAGES,
        {
            "organization_ids": [board.organization_id for board, _ in places],
            "ids": [stage.id for _, stage in places],
            "board_ids": [board.id for board, _ in places],
            "labels": [stage.label for _, stage in places],
            "positions": [stage.position for _, stage in places],
            "colors": [stage.color for _, stage in places],
            "deal_states": [stage.deal_state.value for _, stage in places],
            "aliases": [orjson.dumps(stage.aliases).decode() for _, stage in places],
        },
    )


async def clear_default(tx: Tx, organization_id: UUID) -> None:
    """Leaves the organization without a default board, for the one that is to be it."""
    await tx.execute(_CLEAR_DEFAULT, {"organization_id": organization_id})


def _board(row: Any) -> Board:
    stages = zip(row.stage_ids, row.labels, row.positions, row.colors, row.deal_states, row.aliases, strict=True)
    return Board(
        organization_id=row.organization_id,
        id=row.id,
        key=row.key,
        name=row.name,
        default_board=row.default_board,
        stages=tuple(
            Stage(id_, label, place, color, DealState(state), tuple(aliases))
            for id_, label, place, color, state, aliases in stages
        ),
        version=row.version,
        create_time=row.create_time,
    )
