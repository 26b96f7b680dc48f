"""What goes through the pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from chassis.canonical import Source
from chassis.errors import ProsaError
from prosa.conversation.v1 import conversation_service_pb2 as conversation_pb
from prosa.crm.v1 import crm_service_pb2 as crm_pb
from prosa.identity.v1 import contact_service_pb2 as identity_pb
from services.ingest.normal_form import NormalEvent


@dataclass(slots=True)
class PipelineItem:
    """One event on its way, and what each step found for it. Ids are texts, as every step wants them."""

    event_id: str
    organization_id: str
    connection_id: str
    receive_time: datetime
    event: NormalEvent
    ordering_key: str
    contact: identity_pb.ResolvedContact | None = None
    deal: crm_pb.EnsuredDeal | None = None
    recorded: conversation_pb.RecordedItem | None = None
    error: ProsaError | None = None
    board_id: str = ""
    """Overrides the channel's board."""
    title: str = ""
    """Overrides the contact's name as the title of a new deal."""
    phone: str = ""
    """Overrides the person's phone: as a caller wrote it, to be read in the organization's region."""
    source: Source | None = None
    """Overrides the channel's source: that of typed_id."""
    typed_id: str = ""
    """The person's id as a caller typed it, which may come without its country."""
    wants_deal: bool = False
    """A caller asks for the deal itself, whatever was told before."""
    unnamed: ProsaError | None = None
    """What is wrong unless the conversation is known: nobody was found for the event."""
    held_back: bool = field(default=False)
    """True when an earlier event of the same key failed in this run: this one must wait for it."""
