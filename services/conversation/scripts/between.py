"""The conversation of one own number with another: found, or, where nobody else would make it, made.

A provider that has conversations tells of them once the numbers have written to each other. Between two numbers behind
Evolution nothing is ever told, for reception ignores what own numbers write; there it is made at its first message,
without a contact and a deal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from chassis.db import Tx
from services.conversation.instances import store as instance_store
from services.conversation.instances.domain import Instance, State
from services.conversation.messages import store as message_store
from services.conversation.messages.domain.conversation import Conversation, Source
from services.conversation.messages.domain.record import Item
from services.conversation.messages.recording import Recorder
from services.conversation.scripts import round_store
from services.conversation.scripts.script import Participant, Script


def key_with(other: Participant) -> str:
    """The key of a conversation with a number."""
    return f"whatsapp:{other.phone}"


async def instances_of(tx: Tx, organization_id: UUID, participants: Sequence[Participant]) -> dict[UUID, Instance]:
    """Those of the numbers that are behind Evolution, by channel."""
    return await instance_store.of_channels(tx, organization_id, [one.channel_id for one in participants])


async def connected(tx: Tx, script: Script) -> bool:
    """Whether all of a script's numbers are, as far as anybody here knows."""
    known = await instances_of(tx, script.organization_id, script.participants)
    return all(instance.state is State.OPEN for instance in known.values())


async def hold_conversation(
    tx: Tx, recorder: Recorder, organization_id: UUID, speaker: Participant, other: Participant, now: datetime
) -> Conversation | None:
    """The conversation of a number with another, held until commit; None where the one cannot write to the other.

    Raises Aborted where somebody else made it at the same moment.
    """
    known = await instances_of(tx, organization_id, [speaker, other])
    if any(one.phone != known[one.channel_id].phone for one in (speaker, other) if one.channel_id in known):
        # Paired with another phone since: what the script names may be a stranger's number by now.
        return None
    found = await round_store.conversation_between(tx, organization_id, speaker.channel_id, key_with(other))
    if found is not None:
        return await message_store.find_conversation(tx, organization_id, found, lock=True)
    if not both_behind_evolution(known, speaker, other):
        return None
    return await recorder.link(tx, _item(known[speaker.channel_id], known[other.channel_id], other, now), now)


def both_behind_evolution(known: Mapping[UUID, Instance], speaker: Participant, other: Participant) -> bool:
    """Whether the conversation of the two is nobody else's to make."""
    return speaker.channel_id in known and other.channel_id in known


def _item(speaking: Instance, written_to: Instance, other: Participant, now: datetime) -> Item:
    """What would be told of the conversation, if anybody told it; the other's key stands for the id that it lacks."""
    return Item(
        organization_id=str(speaking.organization_id),
        connection_id=str(speaking.connection_id),
        channel_id=str(speaking.channel_id),
        source=Source.WHATSAPP,
        provider_conversation_id=key_with(other),
        account_id=0,
        inbox_id=0,
        provider_contact_id="",
        contact_id=None,
        deal_id=None,
        conversation_key=key_with(other),
        contact_name=written_to.name,
        contact_phone=other.phone,
        provider_url="",
        inbox_name=speaking.name,
        report=None,
        message=None,
        cause_id="",
        receive_time=now,
    )
