"""What becomes of a webhook that names no connection: somebody is proved to have sent it, or it is refused."""

from __future__ import annotations

from dataclasses import dataclass

from prosa.ingest.v1 import ingest_service_pb2 as pb
from services.ingest.connections.cache import Connection
from services.ingest.providers.authenticity import Check


@dataclass(frozen=True, slots=True)
class Proof:
    """Whose a webhook is, and the check that said so."""

    connection: Connection
    check: Check


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is answered, and the check that decided: for operators, who may know more than the sender."""

    result: pb.AcceptResult
    check: str


UNREADABLE = "SECRET_UNREADABLE"
UNCHECKED = Refusal(pb.AcceptResult(outcome=pb.ACCEPT_OUTCOME_UNAVAILABLE, reason=UNREADABLE), UNREADABLE)
"""The answer where a signature cannot be checked: its sender may be genuine, and is not told that it was wrong."""
