"""What numbers and contacts have used of their limits, kept in Redis: one atomic script per message.

All keys of an organization lie in one slot: ``epoch``, and for each number and contact a sorted set of what was sent
when. Redis keeps nothing on disk. That it lost everything is seen by the epoch, which PostgreSQL knows too: without the
right one nothing is taken, until the ledger was loaded under the next.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from redis.asyncio import Redis as Client

from chassis.redis import Redis
from services.outreach.sending.policy import SendPolicy
from services.outreach.sending.rules import Reason

NUMBER_KEPT = timedelta(hours=48)
"""Longer than the longest day: what a number sent is counted by hour and by calendar day."""
CONTACT_KEPT = timedelta(days=7)
"""The longest gap that a policy may ask for between two messages to one contact."""
LOADING_MS = 60_000
UNITS_PER_CALL = 1_000

# KEYS: epoch, number, contact. A limit of n in a period holds until the n-th newest is as old as the period.
TAKE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'epoch', '', 0} end
local now, member = tonumber(ARGV[2]), ARGV[3]
if redis.call('ZSCORE', KEYS[2], member) then return {'taken', '', now} end
local reason, at = '', now
local function later(name, moment)
  -- What binds longest is the reason that is told: by it the caller knows whom else to hold back.
  if moment > at then reason, at = name, moment end
end
local function limit(key, name, count, period)
  if period <= 0 then return end
  local nth = redis.call('ZREVRANGE', key, count - 1, count - 1, 'WITHSCORES')
  if nth[2] then later(name, tonumber(nth[2]) + period) end
end
limit(KEYS[2], 'GAP_NUMBER', 1, tonumber(ARGV[4]))
limit(KEYS[3], 'GAP_CONTACT', 1, tonumber(ARGV[5]))
limit(KEYS[2], 'BURST_LIMIT', tonumber(ARGV[6]), tonumber(ARGV[7]))
limit(KEYS[2], 'HOUR_LIMIT', tonumber(ARGV[8]), 3600000)
if redis.call('ZCOUNT', KEYS[2], ARGV[10], '+inf') >= tonumber(ARGV[9]) then later('DAY_LIMIT', tonumber(ARGV[11])) end
if reason ~= '' then return {'later', reason, at} end
if ARGV[12] == '1' then return {'taken', '', now} end
for place = 2, 3 do
  local kept = tonumber(ARGV[11 + place])
  redis.call('ZADD', KEYS[place], now, member)
  redis.call('ZREMRANGEBYSCORE', KEYS[place], '-inf', now - kept)
  redis.call('PEXPIRE', KEYS[place], kept)
end
return {'taken', '', now}
"""

# KEYS: loading, epoch, then sorted sets. ARGV: token, new epoch or '', then set, kept, time and member of each unit.
# Whoever loads marks it first: where Redis loses its memory in between, the mark is lost with it.
LOAD = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for at = 3, #ARGV, 4 do
  local key = KEYS[tonumber(ARGV[at])]
  redis.call('ZADD', key, ARGV[at + 2], ARGV[at + 3])
  redis.call('PEXPIRE', key, ARGV[at + 1])
end
if ARGV[2] ~= '' then
  redis.call('SET', KEYS[2], ARGV[2])
  redis.call('DEL', KEYS[1])
end
return 1
"""


@dataclass(frozen=True, slots=True)
class Unit:
    """One message as its number and its contact count it."""

    organization_id: UUID
    channel_id: UUID
    recipient: str
    delivery_id: UUID
    attempt: int
    release_count: int
    """How often it was given back: taken again after that, it is another unit."""

    @property
    def member(self) -> str:
        """What it is called in the sorted sets: taken twice, it is there once."""
        return f"{self.delivery_id}:{self.attempt}:{self.release_count}"


@dataclass(frozen=True, slots=True)
class Wish:
    """A unit that somebody wants, and what it is bound by."""

    unit: Unit
    epoch: int
    policy: SendPolicy
    day: tuple[datetime, datetime]
    """The beginning of the organization's calendar day, and of the next."""
    now: datetime
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """The unit is counted, or for a dry run would be."""


@dataclass(frozen=True, slots=True)
class Full:
    """A limit is reached; nothing was counted."""

    reason: Reason
    retry_time: datetime
    """When all limits would let it pass, as things stand."""


@dataclass(frozen=True, slots=True)
class EpochLost:
    """Redis does not know what was sent."""


Answer = Taken | Full | EpochLost


class Quotas:
    """Takes units, gives them back, and loads them anew. Raises Unavailable REDIS_UNAVAILABLE where Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def take(self, wishes: Sequence[Wish]) -> list[Answer]:
        """What becomes of each, one after the other."""
        if not wishes:
            return []

        async def call(client: Client) -> list[Any]:
            script: Any = client.register_script(TAKE)
            # Left in whatever way, a pipeline gives its connection back.
            async with client.pipeline(transaction=False) as pipeline:
                for wish in wishes:
                    unit = wish.unit
                    keys = [_epoch(unit.organization_id), _number(unit), _contact(unit)]
                    await script(keys=keys, args=_arguments(wish), client=pipeline)
                replies: list[Any] = await pipeline.execute()
                return replies

        return [_answer(*reply) for reply in await self._redis.required("quota", call)]

    async def give_back(self, units: Sequence[Unit]) -> None:
        """Takes units out of the count; where Redis is away they stay in it until they are too old to count."""
        if not units:
            return

        async def call(client: Client) -> None:
            async with client.pipeline(transaction=False) as pipeline:
                for unit in units:
                    pipeline.zrem(_number(unit), unit.member)
                    pipeline.zrem(_contact(unit), unit.member)
                await pipeline.execute()

        await self._redis.or_else("quota_return", call, None)

    async def load(
        self, organization_id: UUID, epoch: int, token: str, units: Sequence[tuple[Unit, datetime]], now: datetime
    ) -> bool:
        """Counts units of the ledger under a new epoch; False where Redis lost its memory meanwhile."""
        loading, key_of_epoch = f"{_prefix(organization_id)}loading", _epoch(organization_id)
        parts = [units[start : start + UNITS_PER_CALL] for start in range(0, len(units), UNITS_PER_CALL)] or [[]]

        async def begin(client: Client) -> None:
            await client.set(loading, token, px=LOADING_MS)

        await self._redis.required("quota_load", begin)
        for place, part in enumerate(parts, 1):
            keys, arguments = [loading, key_of_epoch], [token, str(epoch) if place == len(parts) else ""]
            for unit, moment in part:
                for key, kept in ((_number(unit), NUMBER_KEPT), (_contact(unit), CONTACT_KEPT)):
                    if moment <= now - kept:
                        continue
                    if key not in keys:
                        keys.append(key)
                    arguments += [str(keys.index(key) + 1), _period(kept), _milliseconds(moment), unit.member]

            def add(client: Client, keys: list[str] = keys, arguments: list[str] = arguments) -> Awaitable[Any]:
                return client.eval(LOAD, len(keys), *keys, *arguments)

            if not await self._redis.required("quota_load", add):
                return False
        return True


def _arguments(wish: Wish) -> list[str]:
    policy = wish.policy
    return [
        str(wish.epoch),
        _milliseconds(wish.now),
        wish.unit.member,
        str(policy.number_gap_seconds * 1000),
        str(policy.contact_gap_seconds * 1000),
        str(policy.burst_limit),
        str(policy.burst_seconds * 1000),
        str(policy.number_hour_limit),
        str(policy.number_day_limit),
        _milliseconds(wish.day[0]),
        _milliseconds(wish.day[1]),
        "1" if wish.dry_run else "0",
        _period(NUMBER_KEPT),
        _period(CONTACT_KEPT),
    ]


def _answer(state: bytes, reason: bytes, moment: int) -> Answer:
    if state == b"epoch":
        return EpochLost()
    if state == b"later":
        return Full(Reason(reason.decode()), datetime.fromtimestamp(moment / 1000, UTC))
    return Taken()


def _prefix(organization_id: UUID) -> str:
    # What stands in braces decides the slot.
    return f"prosa:{{{organization_id}}}:"


def _epoch(organization_id: UUID) -> str:
    return f"{_prefix(organization_id)}epoch"


def _number(unit: Unit) -> str:
    return f"{_prefix(unit.organization_id)}number:{unit.channel_id}"


def _contact(unit: Unit) -> str:
    return f"{_prefix(unit.organization_id)}contact:{unit.recipient}"


def _milliseconds(moment: datetime) -> str:
    return str(round(moment.timestamp() * 1000))


def _period(length: timedelta) -> str:
    return str(round(length.total_seconds() * 1000))
