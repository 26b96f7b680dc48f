"""Signing in: who knows the password is let in at once, who guesses waits longer each time.

Wrong passwords are counted by e-mail and network, so that nobody elsewhere can make the owner wait; and by network, for
whoever tries one password on many e-mails. Who signed in from a network before has places there that guessers cannot
take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from uuid import UUID

from chassis.clock import Clock
from chassis.db import Database, scope
from chassis.errors import ResourceExhausted, Unauthenticated
from services.identity.access import store as access_store
from services.identity.access.domain import (
    SIGN_IN_FAILURES_FREE,
    SIGN_IN_KNOWN_KEPT,
    SIGN_IN_NETWORK_FAILURES_FREE,
    SIGN_IN_WINDOW,
    Membership,
)
from services.identity.access.guesses import Places, delay_seconds
from services.identity.access.passwords import Passwords

SIGN_INS_AT_ONCE_MAX = 20
"""With those that wait for their check, half a second of two cores; anybody may try to sign in."""
SIGN_INS_PER_NETWORK_MAX = 4
KNOWN_SIGN_INS_AT_ONCE_MAX = 10
"""Beyond those, for people who signed in from the same network before."""
KNOWN_SIGN_INS_PER_PERSON_MAX = 2

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who has shown that they know the password."""

    user_id: UUID
    memberships: list[Membership]


class SignIn:
    """Checks e-mail and password, at a pace that guessing does not pay at."""

    def __init__(self, db: Database, clock: Clock, passwords: Passwords, sleep: Sleep = asyncio.sleep) -> None:
        self._db, self._clock, self._passwords, self._sleep = db, clock, passwords, sleep
        self._anybody = _places(SIGN_INS_AT_ONCE_MAX, SIGN_INS_PER_NETWORK_MAX, SIGN_IN_NETWORK_FAILURES_FREE)
        self._known = _places(KNOWN_SIGN_INS_AT_ONCE_MAX, KNOWN_SIGN_INS_PER_PERSON_MAX, SIGN_IN_FAILURES_FREE)

    async def check(self, email: str, password: str, organization_id: UUID | None, network: str) -> SignedIn:
        """Who it is, with their memberships, or with the one asked for.

        Raises Unauthenticated CREDENTIALS_INVALID, after a while where many were wrong before, and ResourceExhausted
        SIGN_IN_LIMITED where the network has no place left.
        """
        with ExitStack() as until_answered:
            places, holder = self._anybody, network
            try:
                place = until_answered.enter_context(places.take(holder))
            except ResourceExhausted:
                if not await self._signed_in_before(email, network):
                    raise
                places, holder = self._known, f"{email} {network}"
                place = until_answered.enter_context(places.take(holder))
            failures, user_id, memberships = await self._try(email, password, network)
            chosen = [member for member in memberships if organization_id in (None, member.organization_id)]
            if user_id is None or not chosen:
                delay = places.wrong(holder, place, delay_seconds(failures, SIGN_IN_FAILURES_FREE))
                await self._sleep(delay)
                raise Unauthenticated("CREDENTIALS_INVALID", "The e-mail or the password is wrong.")
            async with self._db.transaction() as tx:
                await access_store.keep_sign_in(tx, email, network, self._clock.now())
        return SignedIn(user_id, chosen)

    async def _try(self, email: str, password: str, network: str) -> tuple[int, UUID | None, list[Membership]]:
        """Counts the attempt; answers how many there were, and user and memberships where the password is right."""
        async with self._db.transaction() as tx:
            # Counted before it is checked: many attempts side by side are no way around the limit.
            failures = await access_store.count_attempt(tx, email, network, SIGN_IN_WINDOW, self._clock.now())
            user_id = await access_store.look_up_user(tx, email)
            password_hash: str | None = None
            memberships: list[Membership] = []
            if user_id is not None:
                await scope(tx, await access_store.look_up_organizations_of(tx, user_id))
                password_hash = await access_store.password_hash_of(tx, user_id)
                memberships = await access_store.memberships_of(tx, user_id)
        right = await self._passwords.check(password_hash, password)
        return (failures, user_id, memberships) if right else (failures, None, [])

    async def _signed_in_before(self, email: str, network: str) -> bool:
        async with self._db.transaction() as tx:
            since = self._clock.now() - SIGN_IN_KNOWN_KEPT
            return await access_store.signed_in_since(tx, email, network, since)


def limited(seconds: int) -> ResourceExhausted:
    """SIGN_IN_LIMITED."""
    return ResourceExhausted(
        "SIGN_IN_LIMITED",
        "Too many sign-ins at once, or too many with a wrong password. Try again in a moment.",
        retry_after_seconds=str(seconds),
    )


def _places(total: int, per_holder: int, failures_free: int) -> Places:
    return Places(
        refusal=limited,
        total=total,
        per_network=per_holder,
        failures_free=failures_free,
        window_seconds=SIGN_IN_WINDOW.total_seconds(),
    )
