"""The two organizations of the filled database, and what each alone knows."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID, uuid5

from prosa.conversation.v1 import script_service_pb2 as script_pb
from prosa.v1 import options_pb2

PASSWORD = "um bom segredo de teste"
CLOSED_URL = "http://127.0.0.1:9/webhook"
"""Where nobody listens: what is posted there waits to be posted again."""
AWAITED_FILE = b"nome,external_id\nAna,17850000000000001\n"
"""Of the import that nobody has started."""
WHATSAPP, INSTAGRAM = options_pb2.SOURCE_WHATSAPP, options_pb2.SOURCE_INSTAGRAM


@dataclass(frozen=True)
class Party:
    """One of the two organizations, and what only it knows."""

    name: str
    organization_id: UUID
    admin_email: str
    api_key: str
    spare_api_key_id: str
    """A key that nobody calls with, and that may be revoked."""
    connection_id: str
    connection_key: str
    account_id: int
    webhook_secret: str
    session_secret: str
    """Of the owner's browser."""

    @property
    def open_delivery_id(self) -> UUID:
        """What is just being sent."""
        return uuid5(self.organization_id, "delivery")

    @property
    def awaited_import_id(self) -> UUID:
        """An import that nobody has started."""
        return uuid5(self.organization_id, "import")

    def campaign_to(self, what: str) -> UUID:
        """A campaign that nobody has started, for the one RPC that will."""
        return uuid5(self.organization_id, f"campaign to {what}")

    owner_id: str
    session_id: str
    """Of the owner's other browser, whose secret nobody needs."""
    link: str
    """An invitation's secret."""
    spare_link: str
    """Of one that may be used."""
    colleague_ids: list[str]
    """Of one whose role may change, and of one who may be removed."""
    numbers: list[str] = field(default_factory=list)
    """Connections of those that it has connected."""
    participants: list[script_pb.Participant] = field(default_factory=list)
    """Two of its numbers, as a script names them."""


@dataclass(frozen=True)
class Filled:
    """A database in which both organizations have rows everywhere."""

    name: str
    a: Party
    b: Party
