"""The legacy path has no connection in its address: account and inbox in the body, or a header, say whose it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prosa.ingest.v1 import ingest_service_pb2 as pb
from services.ingest.directory import AccountMatch
from services.ingest.providers.chatwoot.shape import flatten
from services.ingest.providers.fields import number, obj

ORGANIZATION_HEADER = "x-organization-id"
_ID_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class LegacyTarget:
    """What a legacy webhook says of where it belongs."""

    account_id: int
    inbox_id: int | None
    """None for contact events, which name no inbox."""
    organization_id: UUID | None
    """From the header; None when it was not sent."""

    def choose(self, matches: Sequence[AccountMatch]) -> AccountMatch | pb.AcceptResult:
        """The one connection that is meant; what is nobody's is ignored, what could be several's is refused."""
        if self.organization_id is not None:
            matches = [match for match in matches if match.organization_id == self.organization_id]
            if not matches:
                return pb.AcceptResult(outcome=pb.ACCEPT_OUTCOME_INVALID, reason="ORGANIZATION_NOT_FOUND")
        if not matches:
            return _ignored("no_matching_tenant")
        if self.inbox_id is not None:
            matches = [match for match in matches if match.inbox_known]
            if not matches:
                return _ignored("foreign_inbox")
        if len(matches) > 1:
            return pb.AcceptResult(outcome=pb.ACCEPT_OUTCOME_INVALID, reason="CONNECTION_AMBIGUOUS")
        return matches[0]


def read_target(root: Any, headers: Mapping[str, str]) -> LegacyTarget | pb.AcceptResult:
    """Reads account, inbox and the organization header; an answer where they do not lead anywhere."""
    if root is None:
        return pb.AcceptResult(outcome=pb.ACCEPT_OUTCOME_INVALID, reason="JSON_MALFORMED")
    if not isinstance(root, dict):
        return _ignored("no_inbox_context")
    organization_id = None
    if named := headers.get(ORGANIZATION_HEADER, "").strip():
        try:
            organization_id = UUID(named)
        except ValueError:
            return pb.AcceptResult(outcome=pb.ACCEPT_OUTCOME_INVALID, reason="ORGANIZATION_NOT_FOUND")
    flat, _ = flatten(root)
    account_id = _id(obj(flat.get("account")).get("id"))
    inbox_id = (
        _id(obj(flat.get("inbox")).get("id"))
        or _id(flat.get("inbox_id"))
        or _id(obj(flat.get("conversation")).get("inbox_id"))
    )
    contact_event = str(flat.get("event", "")).startswith("contact_")
    if account_id is None or (inbox_id is None and not contact_event):
        return _ignored("no_inbox_context")
    return LegacyTarget(account_id, inbox_id, organization_id)


def _id(value: Any) -> int | None:
    digits = number(value)
    if digits is None:
        return None
    found = int(digits)
    return found if 0 < found <= _ID_MAX else None


def _ignored(reason: str) -> pb.AcceptResult:
    return pb.AcceptResult(outcome=pb.ACCEPT_OUTCOME_IGNORED, reason=reason)
