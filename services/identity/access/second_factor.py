"""The second factor: how it is set up, and how a code is checked at a pace that guessing does not pay at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from uuid import UUID

from chassis.clock import Clock
from chassis.crypto import Vault
from chassis.db import Database, Tx, scope
from chassis.errors import FailedPrecondition, NotFound, PermissionDenied, ResourceExhausted, Unauthenticated
from prosa.identity.v1 import session_service_pb2 as pb
from services.identity.access import mfa_store, totp
from services.identity.access import store as access_store
from services.identity.access.domain import SIGN_IN_KNOWN_KEPT, SIGN_IN_WINDOW
from services.identity.access.guesses import DELAY_SECONDS_MAX, Places, delay_seconds
from services.identity.access.sign_in import Sleep, limited

SECRET_COLUMN = "mfa_factors.sealed_secret"  # noqa: S105 - the name of a column
NO_NETWORK = ""
"""Wrong codes count together wherever they come from: who tries them knows the password, and may have many networks.
Only one that the person has shown a right code in counts by itself, so that nobody keeps them out of there."""


class SecondFactor:
    """People's authenticators and recovery codes."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        vault: Vault,
        random_bytes: Callable[[int], bytes],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._db, self._clock, self._vault = db, clock, vault
        self._random_bytes, self._sleep = random_bytes, sleep
        self._anywhere, self._known = _places(), _places()

    async def at_sign_in(self, user_id: UUID, code: str, network: str) -> datetime | None:
        """Checks the code of somebody whose password was right; answers when, or None where they have no second factor.

        Raises Unauthenticated MFA_CODE_MISSING, and as ``check`` does.
        """
        async with self._db.transaction() as tx:
            await scope(tx, await access_store.look_up_organizations_of(tx, user_id))
            factor = await mfa_store.find_factor(tx, user_id)
        if factor is None or factor.setup_time is None:
            return None
        if not code:
            raise Unauthenticated(
                "MFA_CODE_MISSING", "The password is right. Send the six digits of the authenticator as mfa_code too."
            )
        return await self.check(user_id, code, network)

    async def check(self, user_id: UUID, code: str, network: str) -> datetime:
        """Takes a code of the authenticator, or a recovery code, which counts once; answers when.

        Raises PermissionDenied MFA_CODE_INVALID, after a while where many were wrong before, and ResourceExhausted
        SIGN_IN_LIMITED where too many are being tried, or were wrong.
        """
        attempt = f"mfa/{user_id}"
        with ExitStack() as until_answered:
            # By person, not by network: each attempt waits for the same row, on a connection of the database.
            places, holder = self._anywhere, str(user_id)
            try:
                place = until_answered.enter_context(places.take(holder))
            except ResourceExhausted:
                if not await self._shown_before(attempt, network):
                    raise
                places, holder = self._known, f"{user_id} {network}"
                place = until_answered.enter_context(places.take(holder))
            now = self._clock.now()
            async with self._db.transaction() as tx:
                since = now - SIGN_IN_KNOWN_KEPT
                counted = network if await access_store.signed_in_since(tx, attempt, network, since) else NO_NETWORK
                # Counted before it is checked: many attempts side by side are no way around the limit.
                failures = await access_store.count_attempt(tx, attempt, counted, SIGN_IN_WINDOW, now)
                right = False
                if failures <= totp.MFA_FAILURES_MAX:
                    await scope(tx, await access_store.look_up_organizations_of(tx, user_id))
                    right = await self._use(tx, user_id, totp.clean_code(code), now)
                if right:
                    await access_store.keep_sign_in(tx, attempt, counted, now)
                    if counted != network:
                        await access_store.count_attempt(tx, attempt, network, SIGN_IN_WINDOW, now)
                        await access_store.keep_sign_in(tx, attempt, network, now)
            if failures > totp.MFA_FAILURES_MAX:
                places.wrong(holder, place, DELAY_SECONDS_MAX)
                raise _too_many_wrong()
            if not right:
                await self._sleep(places.wrong(holder, place, delay_seconds(failures, totp.MFA_FAILURES_FREE)))
                raise code_invalid()
        return now

    async def begin(self, tx: Tx, user_id: UUID, now: datetime) -> pb.MfaSetup:
        """Draws the secret of an authenticator to be set up. Raises FailedPrecondition MFA_ALREADY_SET_UP."""
        await scope(tx, await access_store.look_up_organizations_of(tx, user_id))
        email = await mfa_store.email_of(tx, user_id)
        if email is None:
            raise NotFound("NOT_FOUND", "This person is no longer a member of any organization.")
        secret = totp.draw_totp_secret(self._random_bytes)
        # Of no organization: bound to the person in its place.
        sealed = self._vault.seal(secret, organization_id=user_id, column=SECRET_COLUMN)
        if not await mfa_store.begin_setup(tx, user_id, sealed, now):
            raise _set_up_already()
        uri = totp.provisioning_uri(secret, email)
        return pb.MfaSetup(secret=totp.written_secret(secret), provisioning_uri=uri, qr_svg=totp.qr_svg(uri))

    async def confirm(self, tx: Tx, user_id: UUID, code: str, now: datetime) -> list[str]:
        """Sets the authenticator up that showed this code; answers the recovery codes.

        Raises FailedPrecondition MFA_SETUP_NOT_BEGUN or MFA_ALREADY_SET_UP, and PermissionDenied MFA_CODE_INVALID.
        """
        await scope(tx, await access_store.look_up_organizations_of(tx, user_id))
        factor = await mfa_store.find_factor(tx, user_id, lock=True)
        if factor is not None and factor.setup_time is not None:
            raise _set_up_already()
        if factor is None or now - factor.begin_time > totp.MFA_SETUP_LIFE:
            raise FailedPrecondition("MFA_SETUP_NOT_BEGUN", "Begin the set-up anew: no secret was drawn just now.")
        step = totp.step_of(self._open(factor, user_id), totp.clean_code(code), now)
        if step is None:
            raise code_invalid()
        codes = totp.draw_recovery_codes(self._random_bytes)
        hashes = [totp.recovery_code_hash(user_id, each) for each in codes]
        await mfa_store.finish_setup(tx, user_id, step, hashes, now)
        return codes

    async def _shown_before(self, attempt: str, network: str) -> bool:
        async with self._db.transaction() as tx:
            since = self._clock.now() - SIGN_IN_KNOWN_KEPT
            return await access_store.signed_in_since(tx, attempt, network, since)

    async def _use(self, tx: Tx, user_id: UUID, code: str, now: datetime) -> bool:
        if not totp.is_totp_code(code):
            return await mfa_store.use_recovery_code(tx, user_id, totp.recovery_code_hash(user_id, code), now)
        factor = await mfa_store.find_factor(tx, user_id)
        if factor is None:
            return False
        step = totp.step_of(self._open(factor, user_id), code, now)
        return step is not None and await mfa_store.use_step(tx, user_id, step)

    def _open(self, factor: mfa_store.Factor, user_id: UUID) -> bytes:
        return self._vault.open(factor.sealed_secret, organization_id=user_id, column=SECRET_COLUMN)


def code_invalid() -> PermissionDenied:
    """MFA_CODE_INVALID."""
    return PermissionDenied("MFA_CODE_INVALID", "The code is wrong, too old, or was used before. Send the next one.")


def _set_up_already() -> FailedPrecondition:
    return FailedPrecondition("MFA_ALREADY_SET_UP", "A second factor is set up already.")


def _too_many_wrong() -> ResourceExhausted:
    seconds = int(SIGN_IN_WINDOW.total_seconds())
    return ResourceExhausted(
        "SIGN_IN_LIMITED",
        f"Too many codes were wrong. Try again in {seconds // 60} minutes, or where you showed a right one before.",
        retry_after_seconds=str(seconds),
    )


def _places() -> Places:
    return Places(
        refusal=limited,
        total=totp.MFA_CHECKS_AT_ONCE_MAX,
        per_network=totp.MFA_CHECKS_PER_PERSON_MAX,
        failures_free=totp.MFA_FAILURES_FREE,
        window_seconds=SIGN_IN_WINDOW.total_seconds(),
    )
