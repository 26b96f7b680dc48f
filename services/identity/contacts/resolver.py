"""Resolving people: read, decide, write, log; in one transaction, without locks where nothing changes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from chassis.db import Tx
from chassis.errors import NotFound, ProsaError
from chassis.ids import Ids
from chassis.outbox import Outbox
from prosa.identity.v1 import contact_service_pb2 as pb
from services.identity.contacts import facts, people, resolution_log_store, resolution_store
from services.identity.contacts.domain import Outcome
from services.identity.contacts.junk import Blocked
from services.identity.contacts.resolution_batch import Person, Resolution, ResolutionBatch

Result = Resolution | ProsaError
ORGANIZATIONS_CACHED_MAX = 10_000


@lru_cache(maxsize=ORGANIZATIONS_CACHED_MAX)
def organization_of(text: str) -> UUID:
    """An organization's id; the same object for the same text, which makes look-ups cheap."""
    return UUID(text)


class Resolver:
    """Finds or creates the contacts behind people."""

    def __init__(self, outbox: Outbox, ids: Ids, blocked: Blocked) -> None:
        self._outbox = outbox
        self._ids = ids
        self._blocked = blocked

    async def resolve(
        self, tx: Tx, messages: Sequence[pb.Person], now: datetime, *, by_hand: bool = False
    ) -> list[Result]:
        """Who each person is, or why that cannot be said.

        The transaction must see the organizations of all of them.
        """
        results: list[Result | None] = [None] * len(messages)
        log: list[tuple[Resolution, str]] = []
        readable = await self._read(tx, messages, results, log, by_hand=by_hand)
        first = await resolution_store.load(tx, [person for _, person in readable], self._ids.new, now)
        unsettled = self._fold(first, readable, results)
        if first.changes:
            # Somebody else may be writing the same people: look again with everything about them held.
            again = [person for _, person in unsettled]
            await resolution_store.lock_keys(tx, again)
            second = await resolution_store.load(tx, again, self._ids.new, now, lock=True)
            self._fold(second, unsettled, results)
            await resolution_store.write(tx, second.changes, now)
            await self._outbox.add(tx, facts.facts_of(second.changes, now), now)
        for place, person in readable:
            result = results[place]
            if isinstance(result, Resolution):
                log.append((result, ""))
            elif result is not None:
                log.append((_failed(person), result.message))
        await resolution_log_store.add(tx, log, self._ids.new, now)
        return [result for result in results if result is not None]

    async def _read(
        self,
        tx: Tx,
        messages: Sequence[pb.Person],
        results: list[Result | None],
        log: list[tuple[Resolution, str]],
        *,
        by_hand: bool,
    ) -> list[tuple[int, Person]]:
        """The people who can be read, each with its place; the others have their error as a result already."""
        organizations = {text: organization_of(text) for text in {message.organization_id for message in messages}}
        regions = await resolution_store.regions(tx, organizations.values())
        homes = {text: (found, regions.get(found)) for text, found in organizations.items()}
        readable = []
        for place, message in enumerate(messages):
            organization_id, region = homes[message.organization_id]
            if region is None:
                results[place] = NotFound("ORGANIZATION_NOT_FOUND", "No such organization.")
                continue
            try:
                person = people.read_person(message, organization_id, region, self._blocked, by_hand=by_hand)
                readable.append((place, person))
            except ProsaError as error:
                results[place] = error
                log.append((_failed(people.unreadable_person(message, organization_id)), error.message))
        return readable

    @staticmethod
    def _fold(
        resolution_batch: ResolutionBatch, readable: Sequence[tuple[int, Person]], results: list[Result | None]
    ) -> list[tuple[int, Person]]:
        """Resolves one after the other; answers those who changed something or build on a change."""
        unsettled = []
        for place, person in readable:
            try:
                resolution = results[place] = resolution_batch.resolve(person)
            except ProsaError as error:
                results[place] = error
                continue
            if not resolution.settled:
                unsettled.append((place, person))
        return unsettled


def _failed(person: Person) -> Resolution:
    return Resolution(person, Outcome.ERROR, None, None, "", (), settled=True)
