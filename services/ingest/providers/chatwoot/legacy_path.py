"""The legacy path has no connection in its address: whose a webhook is, its signature says and nothing else.

Account and inbox in the body, or a header, only say which secrets to try. Anybody may claim an account, so a connection
is chosen by proof alone, and whatever proves nothing gets one and the same answer: who guesses learns nothing of whom
there is. What is said after that, senders of the former CRM know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

from chassis.json_reading import JsonMalformed, read_json
from prosa.ingest.v1 import ingest_service_pb2 as pb
from services.ingest.connections.cache import Connection, ConnectionCache
from services.ingest.limits import (
    LARGE_BODY_BYTES,
    LEGACY_HASHED_BYTES_MAX,
    LEGACY_SECRETS_TRIED_MIN,
    UNPROVEN_CONTAINERS_MAX,
    UNPROVEN_MENDED_BYTES_MAX,
    UNPROVEN_READ_BYTES_MAX,
)
from services.ingest.providers.authenticity import Check
from services.ingest.providers.bodies import parsed
from services.ingest.providers.chatwoot.shape import flatten
from services.ingest.providers.chatwoot.verify import SECRETS_MAX, Claim, read_claim
from services.ingest.providers.fields import number, obj
from services.ingest.providers.proof import UNCHECKED, Proof, Refusal

ORGANIZATION_HEADER = "x-organization-id"
_ID_MAX = 2**63 - 1
_NOBODY: dict[str, list[Connection]] = {"": []}
"""Tried where nobody is a candidate: the answer takes its time there too."""
_UNPROVEN = ThreadPoolExecutor(1, thread_name_prefix="unproven")
"""Reads and hashes what nobody has proved yet: strangers keep one thread busy, and none that others wait for."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LegacyTarget:
    """What a legacy webhook says of where it belongs. Anybody may say anything."""

    account_id: int | None
    inbox_id: int | None
    contact_event: bool
    """Contact events name no inbox."""
    organization: str
    """The header as it was sent; empty when it was not."""
    organization_id: UUID | None
    readable: bool
    """Whether the body is JSON, as far as it was read."""
    proved: tuple[Connection, ...] = ()
    """Those that are known to hold the secret already."""

    def choose(self, claim: Claim, body: bytes, candidates: Iterable[Connection], now: datetime) -> Proof | Refusal:
        """The one connection whose secret made the webhook's signature and that is meant."""
        candidates = list(candidates)
        proved: Sequence[Connection] = self.proved or self._proved(claim, body, candidates, now)
        if not proved:
            if any(connection.unreadable for connection in candidates):
                return UNCHECKED
            return unproved(Check.SIGNATURE_MISMATCH)
        if not self.readable:
            # Too damaged, or too much of it, to be read for a stranger. By now it is none's.
            root = parsed(body)
            if root is None:
                return _invalid("JSON_MALFORMED")
            whole = read_target(root, self.organization)
            return replace(whole, proved=tuple(proved)).choose(claim, body, candidates, now)
        if self.organization:
            proved = [connection for connection in proved if connection.organization_id == self.organization_id]
            if not proved:
                return _invalid("ORGANIZATION_NOT_FOUND")
        if self.account_id is None or (self.inbox_id is None and not self.contact_event):
            return _ignored("no_inbox_context")
        proved = [item for item in proved if item.context.account_id == str(self.account_id)]
        if not proved:
            return _ignored("no_matching_tenant")
        if self.inbox_id is not None:
            proved = [connection for connection in proved if str(self.inbox_id) in connection.context.channels]
            if not proved:
                return _ignored("foreign_inbox")
        if len(proved) > 1:
            # Several connections hold the very same secret. Nobody guesses between them.
            return unproved("CONNECTION_AMBIGUOUS")
        return Proof(proved[0], Check.AUTHENTIC_STATIC if claim.stamp is None else Check.AUTHENTIC)

    def _proved(
        self, claim: Claim, body: bytes, candidates: Iterable[Connection], now: datetime
    ) -> Sequence[Connection]:
        """The candidates that hold the secret which made the claim, among as many as a body of this size is worth."""
        inbox = str(self.inbox_id)
        holders: dict[str, list[Connection]] = {}
        for connection in sorted(candidates, key=lambda candidate: inbox not in candidate.context.channels):
            if claim.stamp is not None or _takes_static(connection, now):
                for secret in connection.secrets[:SECRETS_MAX]:
                    holders.setdefault(secret, []).append(connection)
        holders = holders or _NOBODY
        tried = max(LEGACY_SECRETS_TRIED_MIN, LEGACY_HASHED_BYTES_MAX // max(1, len(body)))
        proving = claim.proved_by(islice(holders, tried), body)
        return () if proving is None else holders[proving]


async def prove(
    cache: ConnectionCache, hooks: Mapping[int, pb.Webhook], bodies: Sequence[bytes], now: datetime
) -> dict[int, Proof | Refusal]:
    """Whose each webhook is, by its place among the bodies."""
    decided: dict[int, Proof | Refusal] = {}
    claims: dict[int, Claim] = {}
    for place, hook in hooks.items():
        claim = read_claim(hook.headers, now)
        if isinstance(claim, Claim):
            claims[place] = claim
        else:
            decided[place] = unproved(claim)
    # Whose it is stands in the body, so this is read before anybody has proved anything.
    targets = await _read(
        {place: (bodies[place], hooks[place].headers.get(ORGANIZATION_HEADER, "")) for place in claims}
    )
    by_account, by_organization = await cache.candidates(
        {target.account_id for target in targets.values() if target.account_id is not None},
        {target.organization_id for target in targets.values() if target.organization_id is not None},
    )
    choosing: dict[int, Callable[[], Proof | Refusal]] = {}
    byte_count = 0
    for place, claim in claims.items():
        target, body = targets[place], bodies[place]
        candidates = {
            connection.id: connection
            for found in (by_account.get(target.account_id), by_organization.get(target.organization_id))
            for connection in found or ()
        }
        choosing[place] = partial(target.choose, claim, body, list(candidates.values()), now)
        # Each secret goes over the whole body once more.
        byte_count += len(body) * max(1, len(candidates) * SECRETS_MAX)
    return decided | (await _apart(choosing) if byte_count > LARGE_BODY_BYTES else _done(choosing))


async def _read(sent: Mapping[int, tuple[bytes, str]]) -> dict[int, LegacyTarget]:
    """What each body, with the organization of its header, says; as far as it is read for who has proved nothing."""
    targets: dict[int, LegacyTarget] = {}
    for place, (body, organization) in sent.items():
        if len(body) <= UNPROVEN_READ_BYTES_MAX:
            # Mending what is damaged takes ten times as long.
            with suppress(JsonMalformed):
                targets[place] = read_target(read_json(body, mended_bytes_max=0), organization)
    left = {place: partial(_read_slowly, *given) for place, given in sent.items() if place not in targets}
    return targets | await _apart(left) if left else targets


def _read_slowly(body: bytes, organization: str) -> LegacyTarget:
    # What was read is let go here too, which takes as long again where it has very many parts.
    return read_target(parsed(body, UNPROVEN_MENDED_BYTES_MAX, UNPROVEN_CONTAINERS_MAX), organization)


def _done(works: Mapping[int, Callable[[], T]]) -> dict[int, T]:
    return {place: work() for place, work in works.items()}


async def _apart(works: Mapping[int, Callable[[], T]]) -> dict[int, T]:
    """Done by the thread for it: a whole batch at once, for the way there and back takes its turn on the event loop."""
    return await asyncio.get_running_loop().run_in_executor(_UNPROVEN, _done, works)


def read_target(root: Any, organization: str) -> LegacyTarget:
    """Reads account and inbox; the organization is the header's."""
    organization = organization.strip()
    try:
        organization_id = UUID(organization) if organization else None
    except ValueError:
        organization_id = None
    flat: Mapping[str, Any] = flatten(root)[0] if isinstance(root, dict) else {}
    event = flat.get("event")
    return LegacyTarget(
        account_id=_id(obj(flat.get("account")).get("id")),
        inbox_id=(
            _id(obj(flat.get("inbox")).get("id"))
            or _id(flat.get("inbox_id"))
            or _id(obj(flat.get("conversation")).get("inbox_id"))
        ),
        # Nothing but a text is looked at: what nests deeply cannot even be written as one.
        contact_event=isinstance(event, str) and event.startswith("contact_"),
        organization=organization,
        organization_id=organization_id,
        readable=root is not None,
    )


def unproved(check: str) -> Refusal:
    """The one answer to all that does not prove whose it is."""
    return Refusal(
        pb.AcceptResult(outcome=pb.ACCEPT_OUTCOME_UNAUTHENTICATED, reason=Check.SIGNATURE_MISMATCH.value), check
    )


def _takes_static(connection: Connection, now: datetime) -> bool:
    end_time = connection.legacy_static_secret_end_time
    return end_time is not None and now < end_time


def _id(value: Any) -> int | None:
    digits = number(value)
    if digits is None:
        return None
    found = int(digits)
    return found if 0 < found <= _ID_MAX else None


def _ignored(reason: str) -> Refusal:
    return Refusal(pb.AcceptResult(outcome=pb.ACCEPT_OUTCOME_IGNORED, reason=reason), reason)


def _invalid(reason: str) -> Refusal:
    return Refusal(pb.AcceptResult(outcome=pb.ACCEPT_OUTCOME_INVALID, reason=reason), reason)
