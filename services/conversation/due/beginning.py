"""Begins conversations with those whom a number has never talked with, where a message to their address does so.

On Evolution a message to a phone begins one. Chatwoot sends only in conversations that exist there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from chassis.db import Tx
from chassis.errors import FailedPrecondition
from chassis.ids import Ids
from chassis.outbox import Outbox
from services.conversation.deliveries.queueing import able_to_send, cannot_send
from services.conversation.instances import store as instance_store
from services.conversation.messages import place_store, store
from services.conversation.messages.domain.conversation import Conversation, ConversationKey, Source
from services.conversation.messages.domain.record import Change
from services.conversation.messages.translation import facts_of

_WHATSAPP = "whatsapp:"
_WRITABLE = (f"{_WHATSAPP}+", f"{_WHATSAPP}lid:")
"""What Evolution can write to first; who is known by a business-scoped id alone must write before."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom a message is for, by which channel."""

    organization_id: str
    conversation_key: str
    channel_id: str
    contact_id: str
    """Empty where the address is nobody's."""

    @property
    def thread(self) -> tuple[str, str, str]:
        """What a conversation with them carries."""
        return self.organization_id, self.conversation_key, self.channel_id


class Beginner:
    """Finds the conversation with each recipient, and begins those that can be begun."""

    def __init__(self, outbox: Outbox, ids: Ids) -> None:
        self._outbox, self._ids = outbox, ids

    async def hold(
        self, tx: Tx, recipients: Collection[Recipient], now: datetime
    ) -> dict[Recipient, Conversation | FailedPrecondition]:
        """The newest conversation with each, one object each, held until commit; or why there can be none."""
        known = await store.find_conversations_by_key(
            tx, {(recipient.organization_id, recipient.conversation_key) for recipient in recipients}
        )
        threads = {_thread(conversation) for conversation in known}
        missing = [recipient for recipient in recipients if recipient.thread not in threads]
        begun, refused = await self._drafts(tx, missing, now) if missing else ({}, {})
        keys = {draft.key for draft in begun.values()}
        found = [*known, *(await store.find_conversations(tx, keys))]
        held = await store.lock_conversations_by_id(
            tx, {(conversation.organization_id, conversation.conversation_id) for conversation in found}
        )
        drafts = {draft.key: draft for draft in begun.values() if draft.key not in {one.key for one in held}}
        if drafts:
            # Last: whoever records and wants one of these may wait for them, and nothing else is waited for meanwhile.
            held += await self._insert(tx, list(drafts.values()), now)
        newest: dict[tuple[str, str, str], Conversation] = {}
        placed: dict[ConversationKey, Conversation] = {}
        for conversation in sorted(held, key=lambda one: (one.update_time, one.conversation_id)):
            newest[_thread(conversation)] = placed[conversation.key] = conversation
        answers: dict[Recipient, Conversation | FailedPrecondition] = {}
        for recipient in recipients:
            if recipient in refused:
                answers[recipient] = refused[recipient]
                continue
            draft = begun.get(recipient)
            there = newest.get(recipient.thread) if draft is None else placed[draft.key]
            if there is None:
                answers[recipient] = _cannot_begin()
            else:
                answers[recipient] = there if _reaches(there, recipient) else _other_address()
        return answers

    async def _drafts(
        self, tx: Tx, missing: Sequence[Recipient], now: datetime
    ) -> tuple[dict[Recipient, Conversation], dict[Recipient, FailedPrecondition]]:
        """The conversation of each who can be written to first, as it would be made; the contact may have one.

        Of numbers that have nothing to send with, why none is begun.
        """
        numbers = await instance_store.behind_channels(
            tx, {(recipient.organization_id, recipient.channel_id) for recipient in missing}
        )
        writable = [
            (recipient, number)
            for recipient in missing
            if recipient.contact_id
            and recipient.conversation_key.startswith(_WRITABLE)
            and (number := numbers.get((recipient.organization_id, recipient.channel_id))) is not None
        ]
        if not writable:
            return {}, {}
        able = await able_to_send(tx, {(number.organization_id, number.connection_id) for _, number in writable})
        reached = [(each, number) for each, number in writable if number.connection_id in able]
        refused = {each: cannot_send() for each, number in writable if number.connection_id not in able}
        if not reached:
            return {}, refused
        places = await place_store.find_contacts_places(
            tx,
            {(each.organization_id, each.contact_id, str(number.connection_id)) for each, number in reached},
        )
        drafts: dict[Recipient, Conversation] = {}
        for each, number in reached:
            connection_id = str(number.connection_id)
            external_id = each.conversation_key.removeprefix(_WHATSAPP)
            drafts[each] = Conversation(
                conversation_id=str(self._ids.new()),
                organization_id=each.organization_id,
                connection_id=connection_id,
                channel_id=each.channel_id,
                source=Source.WHATSAPP,
                # As for whoever writes first: Evolution has no id of its own.
                provider_conversation_id=places.get(
                    (each.organization_id, each.contact_id, connection_id), each.contact_id
                ),
                create_time=now,
                update_time=now,
                activity_time=now,
                version=1,
                contact_id=each.contact_id,
                conversation_key=each.conversation_key,
                contact_phone=external_id if external_id.startswith("+") else "",
            )
        return drafts, refused

    async def _insert(self, tx: Tx, drafts: Sequence[Conversation], now: datetime) -> list[Conversation]:
        """Makes conversations; what somebody else made at the same moment is theirs."""
        made = await store.insert_missing_conversations(tx, drafts)
        facts = [
            fact
            for draft in drafts
            if draft.conversation_id in made
            for fact in facts_of(draft, Change(conversation_created=True), "")
        ]
        await self._outbox.add(tx, facts, now)
        held = await store.lock_conversations(tx, {draft.key for draft in drafts})
        return [same[0] for same in held.values()]


def _thread(conversation: Conversation) -> tuple[str, str, str]:
    return conversation.organization_id, conversation.conversation_key, conversation.channel_id


def _reaches(conversation: Conversation, recipient: Recipient) -> bool:
    """Whether what is sent in a conversation goes to the recipient's address; where none is known, nothing is sent."""
    known = conversation.conversation_key
    return known in ("", recipient.conversation_key) or (
        not known.startswith(f"{_WHATSAPP}+")
        and f"{_WHATSAPP}{conversation.contact_phone}" == recipient.conversation_key
    )


def _other_address() -> FailedPrecondition:
    return FailedPrecondition(
        "CHANNEL_CANNOT_SEND",
        "The contact's conversation on this number is with another address of theirs, and nothing may go there that is"
        " meant for this one: let the list name the address that they write from.",
    )


def _cannot_begin() -> FailedPrecondition:
    return FailedPrecondition(
        "CHANNEL_CANNOT_SEND",
        "The contact has no conversation on this number, and none can be begun there: whoever never wrote to it cannot"
        " be written to by it.",
    )
