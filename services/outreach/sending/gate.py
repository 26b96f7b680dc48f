"""The gate: decides about messages that are about to be sent, and reserves what they use of their limits.

Rules are read from PostgreSQL in one statement, limits taken in Redis by one script each, and what was taken is written
into the ledger under the epoch of Redis' counts. A crash in between leaves a unit too many in Redis, never one too few.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from chassis.clock import Clock
from chassis.db import Database
from chassis.errors import FailedPrecondition, ProsaError
from chassis.ids import Ids
from chassis.profiles import Profiles
from services.outreach.limits import OPEN_AFTER_SECONDS, REBUILD_RETRY_SECONDS
from services.outreach.sending import gate_store, ledger_store
from services.outreach.sending.gate_store import Found, Question
from services.outreach.sending.ledger_store import Key, Reserve
from services.outreach.sending.policy import day_around
from services.outreach.sending.quota_store import Answer, Full, Quotas, Taken, Unit, Wish
from services.outreach.sending.rebuilding import Rebuilder
from services.outreach.sending.rules import (
    Decision,
    Message,
    Outcome,
    Reason,
    SendClass,
    Standing,
    decide,
    free_time,
)
from services.outreach.sending.zones import home_zone, zones_of

Result = Decision | ProsaError


@dataclass(frozen=True, slots=True)
class Asked:
    """One message that somebody wants to send."""

    question: Question
    message: Message
    channel_id: UUID
    recipient: str
    """What the gap between two messages to one contact is counted by."""
    dry_run: bool

    @property
    def key(self) -> Key:
        """What its reservation is kept under."""
        return (self.question.organization_id, self.question.delivery_id, self.question.attempt)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message that only limits are left for."""

    asked: Asked
    standing: Standing
    wish: Wish


class Reservations:
    """Reserves and settles."""

    def __init__(
        self,
        db: Database,
        quotas: Quotas,
        rebuilder: Rebuilder,
        profiles: Profiles,
        clock: Clock,
        ids: Ids,
        terms_version: str,
    ) -> None:
        self._db, self._quotas, self._rebuilder, self._profiles = db, quotas, rebuilder, profiles
        self._clock, self._ids, self._terms_version = clock, ids, terms_version

    async def reserve(self, messages: Sequence[Asked]) -> list[Result]:
        """What is decided about each, in their order. Raises Unavailable where PostgreSQL or Redis is away."""
        homes = await self._homes({asked.question.organization_id for asked in messages})
        now = self._clock.now()
        results: dict[int, Result] = {}
        looked: list[tuple[int, Asked, ZoneInfo]] = []
        for place, asked in enumerate(messages):
            home = homes[asked.question.organization_id]
            if isinstance(home, ProsaError):
                results[place] = home
            else:
                looked.append((place, asked, home))
        found = await self._look([asked for _, asked, _ in looked])
        candidates: dict[int, Candidate] = {}
        refused: dict[Key, bool] = {}
        for (place, asked, home), known in zip(looked, found, strict=True):
            outcome = self._judge(asked, known, home, now)
            if isinstance(outcome, Candidate):
                candidates[place] = outcome
                continue
            results[place] = outcome
            open_before = known.reservation is not None and known.reservation.state == "OPEN"
            if open_before and not asked.dry_run and isinstance(outcome, Decision) and outcome.reason:
                refused[asked.key] = False
        answers = await self._quotas.take([candidate.wish for candidate in candidates.values()])
        taken = {
            place: candidate
            for (place, candidate), answer in zip(candidates.items(), answers, strict=True)
            if isinstance(answer, Taken) and not candidate.asked.dry_run
        }
        kept = await self._write(taken, refused, now)
        for (place, candidate), answer in zip(candidates.items(), answers, strict=True):
            results[place] = kept[place] if place in kept else self._limited(candidate, answer, now)
        return [results[place] for place in range(len(messages))]

    async def settle(self, used: Mapping[Key, bool]) -> None:
        """Settles reservations: used, or given back because nothing left. What is not open stays as it is."""
        if not used:
            return
        async with self._db.transaction(*{organization_id for organization_id, _, _ in used}) as tx:
            released = await ledger_store.settle(tx, used, self._clock.now())
        await self._quotas.give_back(released)

    async def open_since_long(self, after: UUID, row_limit: int) -> list[ledger_store.Open]:
        """Reservations of all organizations that should have been settled by now, oldest first."""
        before = self._clock.now() - timedelta(seconds=OPEN_AFTER_SECONDS)
        async with self._db.transaction() as tx:
            return await ledger_store.open_reservations(tx, before, after, row_limit)

    async def _homes(self, organization_ids: Collection[UUID]) -> dict[UUID, ZoneInfo | ProsaError]:
        """The time zone of each organization, or why it is not known."""

        async def ask(organization_id: UUID) -> ZoneInfo | ProsaError:
            try:
                return home_zone((await self._profiles.of(organization_id)).time_zone)
            except ProsaError as error:
                return error

        found = await asyncio.gather(*map(ask, organization_ids))
        return dict(zip(organization_ids, found, strict=True))

    async def _look(self, messages: Sequence[Asked]) -> list[Found]:
        if not messages:
            return []
        questions = [asked.question for asked in messages]
        async with self._db.transaction(*{question.organization_id for question in questions}) as tx:
            return await gate_store.look(tx, questions, self._terms_version)

    def _judge(self, asked: Asked, known: Found, home: ZoneInfo, now: datetime) -> Candidate | Result:
        """What the rules and the ledger say of a message; a candidate where only limits are left to be asked."""
        before = known.reservation
        if before is not None and before.state == "USED" and not asked.dry_run:
            return _used()
        question = asked.question
        standing = Standing(
            policy=known.policy,
            zones=zones_of(question.addresses, home),
            killed=known.killed,
            killed_globally=known.killed_globally,
            terms_accepted=known.terms_accepted,
            suppressions=known.suppressions,
        )
        decision = decide(asked.message, standing, now)
        if decision is not None:
            return decision
        if before is not None and before.state == "OPEN":
            return Decision(Outcome.ALLOWED, reservation_id=None if asked.dry_run else before.id)
        unit = Unit(
            question.organization_id,
            asked.channel_id,
            asked.recipient,
            question.delivery_id,
            question.attempt,
            known.release_count,
        )
        wish = Wish(unit, known.epoch, known.policy, day_around(now, home), now, asked.dry_run)
        return Candidate(asked, standing, wish)

    async def _write(
        self, taken: Mapping[int, Candidate], refused: Mapping[Key, bool], now: datetime
    ) -> dict[int, Result]:
        """Writes down what was taken, and gives back what may not be sent any more; answers the former's decisions."""
        if not taken and not refused:
            return {}
        results: dict[int, Result] = {}
        organization_ids = {
            *(organization_id for organization_id, _, _ in refused),
            *(candidate.asked.question.organization_id for candidate in taken.values()),
        }
        async with self._db.transaction(*organization_ids) as tx:
            returned = await ledger_store.settle(tx, refused, now) if refused else []
            reserves: dict[int, Reserve] = {}
            for place, candidate in taken.items():
                message, wish = candidate.asked.message, candidate.wish
                if message.send_class is SendClass.CONFIRMATION:
                    assert message.suppression_id is not None, "the rules let no confirmation of nothing pass"
                    organization_id = wish.unit.organization_id
                    if not await ledger_store.confirm(
                        tx, organization_id, message.suppression_id, message.delivery_id, now
                    ):
                        results[place] = Decision(Outcome.DENIED, Reason.CONFIRMED_ALREADY)
                        returned.append(wish.unit)
                        continue
                reserves[place] = Reserve(self._ids.new(), wish.unit, wish.epoch, message.send_class.value)
            written = await ledger_store.reserve(tx, list(reserves.values()), now) if reserves else {}
        await self._quotas.give_back(returned)
        for place, reserve in reserves.items():
            line = written.get(reserve.key)
            if line is None:
                results[place] = self._rebuilding(taken[place], now)
            elif line.state == "USED":
                results[place] = _used()
            else:
                results[place] = Decision(Outcome.ALLOWED, reservation_id=line.id)
        return results

    def _limited(self, candidate: Candidate, answer: Answer, now: datetime) -> Decision:
        if isinstance(answer, Taken):
            return Decision(Outcome.ALLOWED)
        if isinstance(answer, Full):
            retry_time = free_time(candidate.asked.message, candidate.standing, answer.retry_time)
            return Decision(Outcome.LATER, answer.reason, retry_time)
        return self._rebuilding(candidate, now)

    def _rebuilding(self, candidate: Candidate, now: datetime) -> Decision:
        self._rebuilder.lost(candidate.wish.unit.organization_id, candidate.wish.epoch)
        retry_time = now + timedelta(seconds=REBUILD_RETRY_SECONDS)
        return Decision(Outcome.LATER, Reason.QUOTAS_REBUILDING, retry_time)


def _used() -> FailedPrecondition:
    return FailedPrecondition(
        "RESERVATION_USED",
        "The reservation of this delivery and attempt was used: the message may have left. Do not send it again.",
    )
