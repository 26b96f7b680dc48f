"""Ensures deals: one transaction and a handful of statements for a whole batch, across organizations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from chassis.clock import Clock
from chassis.db import Database, Tx
from chassis.errors import NotFound, ProsaError
from chassis.ids import Ids
from chassis.outbox import Fact, Outbox
from services.crm import board_store, deal_store, ensure_store, messages
from services.crm.domain import DealState, new_deal, standard_board
from services.crm.ensure_store import BoardPlace, EnsureKey, OpenDeal

Places = dict[tuple[str, str | None], BoardPlace]
"""Boards by organization and the board that was named; None stands for the default board."""


class Wanted(NamedTuple):
    """One contact on one board. Ids are texts in their canonical form."""

    organization_id: str
    contact_id: str
    board_id: str | None
    """None: the organization's default board."""
    title: str
    cause_id: str
    existing_only: bool = False
    """No deal is made for it."""


class Ensured(NamedTuple):
    """The deal of one contact on one board."""

    deal_id: str
    """Empty where there was none and none was to be made."""
    board_id: str
    stage_id: str
    stage_label: str
    created: bool


class Ensurer:
    """Answers the open deal of each contact on its board, else makes it in the board's first stage."""

    def __init__(self, db: Database, outbox: Outbox, clock: Clock, ids: Ids) -> None:
        self._db, self._outbox, self._clock, self._ids = db, outbox, clock, ids

    async def ensure(self, items: Sequence[Wanted]) -> list[Ensured | ProsaError]:
        """One answer per item, in order; an item whose board is not there gets NotFound BOARD_NOT_FOUND."""
        now = self._clock.now()
        async with self._db.transaction(*map(UUID, {item.organization_id for item in items})) as tx:
            places, facts = await self._find_places(tx, items, now)
            keys, first = _first_items(items, places)
            deals, redirected = await ensure_store.find_ensured(tx, list(first))
            if redirected:
                # Somebody was merged since they were resolved: what is ensured is the survivor's.
                keys = [key if key is None else redirected.get(key, key) for key in keys]
                deals, _ = await ensure_store.find_ensured(tx, list(dict.fromkeys(key for key in keys if key)))
            missing: dict[EnsureKey, Wanted] = {}
            for key, item in zip(keys, items, strict=True):
                if key is not None and key not in deals and not item.existing_only:
                    missing.setdefault(key, item)
            made: set[EnsureKey] = set()
            if missing:
                opened, made_facts = await self._open(tx, missing, places, now)
                deals |= opened
                made = {key for key, deal in opened.items() if deal.deal_id in made_facts}
                facts += made_facts.values()
            places = await self._with_labels(tx, items, places, keys, deals)
            await self._outbox.add(tx, facts, now)
        return [_answer(item, key, places, deals, made) for item, key in zip(items, keys, strict=True)]

    async def _find_places(self, tx: Tx, items: Sequence[Wanted], now: datetime) -> tuple[Places, list[Fact]]:
        wanted = {(item.organization_id, item.board_id) for item in items}
        places = await ensure_store.find_board_places(tx, wanted)
        bare = {UUID(organization_id) for organization_id, board_id in wanted - places.keys() if board_id is None}
        if not bare:
            return places, []
        # Somebody else may be making a board just now: look again when nobody else can.
        await board_store.lock_boards(tx, bare)
        bare -= await board_store.having_boards(tx, list(bare))
        boards = [standard_board(self._ids.new, organization_id, now) for organization_id in sorted(bare)]
        if boards:
            await board_store.insert_boards(tx, boards)
        places = await ensure_store.find_board_places(tx, wanted)
        return places, [messages.board_created(board) for board in boards]

    async def _open(
        self,
        tx: Tx,
        missing: dict[EnsureKey, Wanted],
        places: Places,
        now: datetime,
    ) -> tuple[dict[EnsureKey, OpenDeal], dict[str, Fact]]:
        """The open deal of each key that has none ensured, and the facts of those made here, by deal."""
        proposed = {key: str(self._ids.new()) for key in missing}
        held = await ensure_store.claim(tx, proposed)
        opened = await ensure_store.find_open(tx, held)
        facts: dict[str, Fact] = {}
        new_deals = []
        for key, item in missing.items():
            if key in opened:
                continue
            place = places[item.organization_id, item.board_id]
            deal = new_deal(
                UUID(proposed[key]),
                UUID(key.organization_id),
                UUID(key.contact_id),
                board_id=UUID(key.board_id),
                stage_id=UUID(place.first_stage_id),
                stage_label=place.labels[place.first_stage_id],
                title=item.title,
                state=DealState.OPEN,
                value=None,
                now=now,
            )
            new_deals.append(deal)
            opened[key] = OpenDeal(proposed[key], place.first_stage_id)
            facts[proposed[key]] = messages.deal_created(deal, item.cause_id)
        if new_deals:
            await deal_store.insert_deals(tx, new_deals)
        moved = {key: deal.deal_id for key, deal in opened.items() if held[key] != deal.deal_id}
        if moved:
            await ensure_store.move(tx, moved)
        return opened, facts

    async def _with_labels(
        self,
        tx: Tx,
        items: Sequence[Wanted],
        places: Places,
        keys: Sequence[EnsureKey | None],
        deals: dict[EnsureKey, OpenDeal],
    ) -> Places:
        """The boards, read again in the rare case that a deal is in a stage younger than the first look."""
        for item, key in zip(items, keys, strict=True):
            if key is None or (deal := deals.get(key)) is None:
                continue
            if deal.stage_id not in places[item.organization_id, item.board_id].labels:
                return await ensure_store.find_board_places(tx, places)
        return places


def _first_items(items: Sequence[Wanted], places: Places) -> tuple[list[EnsureKey | None], dict[EnsureKey, Wanted]]:
    """The key of each item (None where its board is not there), and the first item of each key."""
    keys: list[EnsureKey | None] = []
    first: dict[EnsureKey, Wanted] = {}
    for item in items:
        place = places.get((item.organization_id, item.board_id))
        if place is None:
            keys.append(None)
            continue
        key = EnsureKey(item.organization_id, item.contact_id, place.board_id)
        keys.append(key)
        first.setdefault(key, item)
    return keys, first


def _answer(
    item: Wanted, key: EnsureKey | None, places: Places, deals: dict[EnsureKey, OpenDeal], made: set[EnsureKey]
) -> Ensured | ProsaError:
    """The item's answer; only the first item of a key that was made here is told so."""
    if key is None:
        return NotFound("BOARD_NOT_FOUND", "The organization has no such board.")
    if key not in deals:
        return Ensured("", key.board_id, "", "", created=False)
    created = key in made
    if created:
        made.remove(key)
    deal, place = deals[key], places[item.organization_id, item.board_id]
    return Ensured(deal.deal_id, key.board_id, deal.stage_id, place.labels[deal.stage_id], created)
