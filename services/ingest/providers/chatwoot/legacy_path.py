"""The legacy path has no connection in its address: whose a webhook is, its signature says and nothing else.

Account and inbox in the body, or a header, only say which secrets to try. Anybody may claim an account, so a connection
is chosen by proof alone, and whatever proves nothing gets one and the same answer: who guesses learns nothing of whom
there is. What is said after that, senders of the former CRM know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

from prosa.ingest.v1 import ingest_service_pb2 as pb
from services.ingest.directory import Connection, Directory
from services.ingest.limits import LEGACY_HASHED_BYTES_MAX, LEGACY_SECRETS_TRIED_MIN, UNPROVEN_MENDED_BYTES_MAX
from services.ingest.providers.authenticity import Check
from services.ingest.providers.bodies import aside, parsed
from services.ingest.providers.chatwoot.shape import flatten
from services.ingest.providers.chatwoot.verify import SECRETS_MAX, Claim, read_claim
from services.ingest.providers.fields import number, obj
from services.ingest.providers.proof import UNCHECKED, Proof, Refusal

ORGANIZATION_HEADER = "x-organization-id"
_ID_MAX = 2**63 - 1
_NOBODY: dict[str, list[Connection]] = {"": []}
"""Tried where nobody is a candidate: the answer takes its time there too."""


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
    root: Any

    def choose(self, claim: Claim, body: bytes, candidates: Iterable[Connection], now: datetime) -> Proof | Refusal:
        """The one connection whose secret made the webhook's signature and that is meant."""
        candidates = list(candidates)
        proved = self._proved(claim, body, candidates, now)
        if not proved:
            if any(connection.unreadable for connection in candidates):
                return UNCHECKED
            return unproved(Check.SIGNATURE_MISMATCH)
        if self.root is None:
            return _invalid("JSON_MALFORMED")
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
    directory: Directory, hooks: Mapping[int, pb.Webhook], bodies: Sequence[bytes], now: datetime
) -> dict[int, Proof | Refusal]:
    """Whose each webhook is, by its place among the bodies."""
    decided: dict[int, Proof | Refusal] = {}
    claims: dict[int, tuple[Claim, LegacyTarget]] = {}
    for place, hook in hooks.items():
        claim = read_claim(hook.headers, now)
        if isinstance(claim, Claim):
            # Whose it is stands in the body, so this is read before anybody has proved anything.
            root = await aside(len(bodies[place]), parsed, bodies[place], UNPROVEN_MENDED_BYTES_MAX)
            claims[place] = claim, read_target(root, hook.headers)
        else:
            decided[place] = unproved(claim)
    by_account, by_organization = await directory.candidates(
        {target.account_id for _, target in claims.values() if target.account_id is not None},
        {target.organization_id for _, target in claims.values() if target.organization_id is not None},
    )
    for place, (claim, target) in claims.items():
        candidates = {
            connection.id: connection
            for found in (by_account.get(target.account_id), by_organization.get(target.organization_id))
            for connection in found or ()
        }
        body = bodies[place]
        # Each secret goes over the whole body once more.
        byte_count = len(body) * max(1, len(candidates) * SECRETS_MAX)
        decided[place] = await aside(byte_count, target.choose, claim, body, list(candidates.values()), now)
    return decided


def read_target(root: Any, headers: Mapping[str, str]) -> LegacyTarget:
    """Reads account, inbox and the organization header."""
    organization = headers.get(ORGANIZATION_HEADER, "").strip()
    try:
        organization_id = UUID(organization) if organization else None
    except ValueError:
        organization_id = None
    flat: Mapping[str, Any] = flatten(root)[0] if isinstance(root, dict) else {}
    return LegacyTarget(
        account_id=_id(obj(flat.get("account")).get("id")),
        inbox_id=(
            _id(obj(flat.get("inbox")).get("id"))
            or _id(flat.get("inbox_id"))
            or _id(obj(flat.get("conversation")).get("inbox_id"))
        ),
        contact_event=str(flat.get("event", "")).startswith("contact_"),
        organization=organization,
        organization_id=organization_id,
        root=root,
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
