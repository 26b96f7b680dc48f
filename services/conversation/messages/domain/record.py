"""Rules of conversations and messages: what a report may change. No I/O, no clock, no protobuf.

A report is what one webhook event said. Reports come late, twice and out of order, so each rule answers one question:
is this news? What is no news changes nothing at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from services.conversation.messages.domain.conversation import (
    Conversation,
    ConversationKey,
    ConversationReport,
    HandoffMode,
    HandoffSource,
    Source,
    hand_over,
    is_last,
    is_newest,
    make_last,
    preview,
)
from services.conversation.messages.domain.message import (
    CLOCKS_APART,
    SAME_TIME_US,
    Author,
    Direction,
    Message,
    MessageKey,
    MessageReport,
    MessageState,
    amend,
)
from services.conversation.messages.domain.message import is_other as is_other_message

HANDOFF_LABEL = "atendimento-humano"
"""The provider's label that gives a conversation to a person; taking it away gives it back to automation."""
LABEL_REASON = f"The label {HANDOFF_LABEL} was set."
LABEL_GONE_REASON = f"The label {HANDOFF_LABEL} was taken away."
ECHO_REASON = "A person answered in the native app."

SAME_TIME = timedelta(microseconds=SAME_TIME_US)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PROVISIONAL_KEYS = ("whatsapp:lid:", "whatsapp:bsuid:")


@dataclass(slots=True)
class Item:
    """What one event said, with the contact and deal that were found for it."""

    organization_id: str
    connection_id: str
    channel_id: str
    source: Source
    provider_conversation_id: str
    account_id: int
    inbox_id: int
    provider_contact_id: str
    contact_id: str | None
    deal_id: str | None
    conversation_key: str
    contact_name: str
    contact_phone: str
    provider_url: str
    inbox_name: str
    report: ConversationReport | None
    message: MessageReport | None
    cause_id: str
    receive_time: datetime
    provider_create_time: datetime | None = None
    """When the provider made the conversation."""
    provider_contact_source_id: str = ""
    """The network's id of the contact, as the conversation hangs on it."""
    known_conversation_only: bool = False
    """Nobody was found for the event: it counts only in a conversation that is known."""
    unplaced: bool = False
    """The provider has no conversations: what stands for its id is only the contact's, or the message's."""

    @property
    def key(self) -> ConversationKey:
        return self.organization_id, self.provider_conversation_id, self.connection_id

    @property
    def message_key(self) -> MessageKey | None:
        if self.message is None:
            return None
        return self.organization_id, self.channel_id, self.message.provider_message_id


@dataclass(slots=True)
class Change:
    """What an item changed; each flag but ``noted`` and ``message_noted`` is a fact to announce."""

    message: Message | None = None
    conversation_created: bool = False
    conversation_updated: bool = False
    handoff_changed: bool = False
    message_created: bool = False
    message_updated: bool = False
    message_sent: bool = False
    """What is sent here is known to have left, for the first time."""
    reaction_changed: bool = False
    evidence_learnt: bool = False
    noted: bool = False
    """The conversation's row is to be written, though perhaps only to remember how new the report was."""
    message_noted: bool = False

    @property
    def visible(self) -> bool:
        """False when a reader could not tell that the item was there."""
        return (
            self.conversation_created
            or self.conversation_updated
            or self.handoff_changed
            or self.message_created
            or self.message_updated
            or self.reaction_changed
        )


def new_conversation(item: Item, conversation_id: str, now: datetime, generation: int = 0) -> Conversation:
    """A conversation of which nothing is known but its place; ``record`` fills in the rest."""
    return Conversation(
        conversation_id=conversation_id,
        organization_id=item.organization_id,
        connection_id=item.connection_id,
        channel_id=item.channel_id,
        source=item.source,
        provider_conversation_id=item.provider_conversation_id,
        create_time=now,
        update_time=now,
        activity_time=now,
        generation=generation,
    )


def is_other(conversation: Conversation, item: Item, kept: Message | None, survivors: Mapping[str, str]) -> bool:
    """Whether an item is of another conversation than the one that has its id, and of somebody else.

    A provider that was put back from a backup gives ids again. What never changes of a conversation tells: when it was
    made, the network's id that it hangs on, and its messages, of which ``kept`` has the id of the item's. One person's
    two conversations under one id may well be one thread, and so may those of two contacts that were merged:
    ``survivors`` says who stands for whom, as far as it is another. Where nobody was found for the item, it may be
    anybody.
    """
    if item.contact_id is None:
        somebody_else = item.known_conversation_only
    else:
        here, there = conversation.contact_id, item.contact_id
        somebody_else = here is not None and survivors.get(here, here) != survivors.get(there, there)
    if not somebody_else:
        return False
    made, reported = conversation.provider_create_time, item.provider_create_time
    if reported is not None and abs(reported - made if made else timedelta(0)) > SAME_TIME:
        return True
    if reported is not None and made is None and reported > conversation.create_time + CLOCKS_APART:
        return True
    hangs_on = conversation.provider_contact_source_id
    if hangs_on and item.provider_contact_source_id not in ("", hangs_on):
        return True
    return kept is not None and item.message is not None and is_other_message(kept, item.message)


def new_message(item: Item, reported: MessageReport, conversation_id: str, message_id: str, now: datetime) -> Message:
    """A message heard of for the first time, also where its creation was never told and this is an update."""
    deleted = reported.deleted
    return Message(
        message_id=message_id,
        organization_id=item.organization_id,
        conversation_id=conversation_id,
        channel_id=item.channel_id,
        provider_message_id=reported.provider_message_id,
        create_time=reported.create_time,
        record_time=now,
        cause_id=item.cause_id,
        direction=reported.direction,
        author=reported.author,
        # The provider has it, so it was sent at least.
        state=MessageState.SENT if reported.state is MessageState.UNSPECIFIED else reported.state,
        provider_source_id=reported.provider_source_id,
        text="" if deleted else reported.text,
        content_type=reported.content_type,
        attachments=[] if deleted else reported.attachments,
        error_message=reported.error_message if reported.state is MessageState.FAILED else "",
        deleted=deleted,
        in_reply_to=reported.in_reply_to,
        author_name=reported.author_name,
        content_time_us=0 if item.report is None else item.report.update_time_us,
        deleted_by_contact=reported.deleted_by_contact,
        submitted_values=[] if deleted else reported.submitted_values,
        told_time_us=reported.told_time_us,
    )


def record(
    conversation: Conversation,
    item: Item,
    kept: Message | None,
    fresh: Message | None,
    *,
    created: bool,
    now: datetime,
    reaction_changed: bool | None = None,
    sent: bool = False,
) -> Change:
    """Changes the conversation, and the message if it is kept, by what the item says.

    ``kept`` is the item's message where it is known, ``fresh`` the new one where it is not; both are None for an item
    without a message, and for a message that is known but whose content was let go. ``created`` says that the
    conversation is new with this item; ``reaction_changed`` that it is of a reaction, which is nothing to read, and
    whether it is news; ``sent`` that it is the echo by which ``kept`` is known to have left.
    """
    report, reported = item.report, item.message
    change = Change(message=fresh or kept, conversation_created=created, message_created=fresh is not None)
    change.reaction_changed, change.message_sent = reaction_changed or False, sent
    known_us = conversation.provider_update_time_us
    reported_us = known_us if report is None else report.update_time_us
    written = fresh
    if reported is not None and kept is not None:
        amendment = amend(kept, reported, 0 if report is None else report.update_time_us)
        change.message_updated, change.message_noted = amendment.updated, amendment.noted
        written = kept if amendment.author_changed else None
    # A known message that tells nothing new is a repetition, and so is all that came with it.
    repeated = reported is not None and not change.message_created and not change.message_updated
    repeated = repeated or reaction_changed is False
    newest = fresh is not None and is_newest(conversation, fresh)
    newer = reported_us > known_us
    same = reported_us == known_us
    current = created or newer or (same and newest)

    before = _announced(conversation)
    unread_before = conversation.unread_count
    handoff_before = (conversation.handoff_mode, conversation.handoff_source, conversation.handoff_time)
    # Compared with the handoff as it was before this item: an echo told late does not undo a later resume.
    echo = written is not None and _is_echo(conversation, written)
    link(conversation, item, current=current)
    if current:
        _take_details(conversation, item)
    if report is not None and (newer or (same and not repeated)):
        _take_state(conversation, report, item, now)
        change.noted = newer
        conversation.provider_update_time_us = reported_us
    change.evidence_learnt = _learn(conversation, item)
    change.noted = change.noted or change.evidence_learnt
    if reaction_changed is None:
        _count_unread(conversation, report, fresh, newer=newer, newest=newest)
    if fresh is not None and newest:
        make_last(conversation, fresh)
    elif change.message_updated and kept is not None and is_last(conversation, kept):
        conversation.last_message_preview = preview(kept.text)
    if echo and written is not None:
        source = HandoffSource.ECHO_INSTAGRAM if item.source is Source.INSTAGRAM else HandoffSource.ECHO_WHATSAPP
        hand_over(conversation, HandoffMode.HUMAN, source, written.create_time, ECHO_REASON)

    handoff_after = (conversation.handoff_mode, conversation.handoff_source, conversation.handoff_time)
    change.handoff_changed = handoff_after != handoff_before
    message_reported = change.message_created or change.message_updated
    # A new message's own fact tells that more is unread; alone, the number is news.
    counted = conversation.unread_count != unread_before and not message_reported
    change.conversation_updated = not created and (counted or _announced(conversation) != before)
    if change.visible:
        conversation.version += 1
        conversation.update_time = now
        change.noted = True
    return change


def _learn(conversation: Conversation, item: Item) -> bool:
    """Fills in the evidence of which conversation it is; it never changes."""
    before = conversation.provider_create_time, conversation.provider_contact_source_id
    conversation.provider_create_time = conversation.provider_create_time or item.provider_create_time
    conversation.provider_contact_source_id = conversation.provider_contact_source_id or item.provider_contact_source_id
    return before != (conversation.provider_create_time, conversation.provider_contact_source_id)


def link(conversation: Conversation, item: Item, *, current: bool) -> None:
    """Fills in what is empty; a contact changes only with the provider's own, and takes the deal along.

    The provider's contact of a conversation changes when it merges two. A different contact under the same provider's
    contact comes from a merge on our side, which readers follow and no row is rewritten for.
    """
    contact_given = item.contact_id is not None
    same_contact = contact_given and item.contact_id == conversation.contact_id
    provider_moved = (
        item.provider_contact_id != ""
        and conversation.provider_contact_id != ""
        and item.provider_contact_id != conversation.provider_contact_id
    )
    if contact_given and conversation.contact_id is not None and not same_contact and provider_moved and current:
        conversation.contact_id = item.contact_id
        conversation.deal_id = item.deal_id
        conversation.provider_contact_id = item.provider_contact_id
        conversation.conversation_key = item.conversation_key or conversation.conversation_key
        return
    if conversation.contact_id is None:
        conversation.contact_id = item.contact_id
        same_contact = contact_given
    if conversation.deal_id is None:
        conversation.deal_id = item.deal_id
    if not conversation.provider_contact_id or (provider_moved and same_contact and current):
        conversation.provider_contact_id = item.provider_contact_id or conversation.provider_contact_id
    if not conversation.conversation_key or (
        same_contact
        and conversation.conversation_key.startswith(_PROVISIONAL_KEYS)
        and item.conversation_key
        and not item.conversation_key.startswith(_PROVISIONAL_KEYS)
    ):
        conversation.conversation_key = item.conversation_key


def _announced(conversation: Conversation) -> tuple[object, ...]:
    """All that a ConversationUpdated is announced for."""
    return (
        conversation.state,
        conversation.labels,
        conversation.assignee_name,
        conversation.contact_id,
        conversation.deal_id,
        conversation.conversation_key,
        conversation.contact_name,
        conversation.contact_phone,
        conversation.provider_contact_id,
        conversation.provider_url,
        conversation.inbox_name,
        conversation.inbox_id,
        conversation.account_id,
    )


def _take_details(conversation: Conversation, item: Item) -> None:
    conversation.contact_name = item.contact_name or conversation.contact_name
    conversation.contact_phone = item.contact_phone or conversation.contact_phone
    conversation.provider_url = item.provider_url or conversation.provider_url
    conversation.inbox_name = item.inbox_name or conversation.inbox_name
    conversation.inbox_id = item.inbox_id or conversation.inbox_id
    conversation.account_id = item.account_id or conversation.account_id


def _take_state(conversation: Conversation, report: ConversationReport, item: Item, now: datetime) -> None:
    conversation.state = report.state or conversation.state
    conversation.assignee_name = report.assignee_name
    # Bodies of the oldest form leave labels out, which looks like none: that must not wake automation.
    if not report.labels and not report.update_time_us:
        return
    had, has = HANDOFF_LABEL in conversation.labels, HANDOFF_LABEL in report.labels
    conversation.labels = report.labels
    if had == has or 0 < report.update_time_us <= conversation.label_write_us:
        # What we wrote ourselves, or what stood there before.
        return
    moment = item.receive_time
    if report.update_time_us:
        moment = min(_EPOCH + timedelta(microseconds=report.update_time_us), now)
    if has:
        hand_over(conversation, HandoffMode.HUMAN, HandoffSource.LABEL, moment, LABEL_REASON)
    else:
        hand_over(conversation, HandoffMode.AI, HandoffSource.LABEL, moment, LABEL_GONE_REASON)


def _count_unread(
    conversation: Conversation,
    report: ConversationReport | None,
    fresh: Message | None,
    *,
    newer: bool,
    newest: bool,
) -> None:
    """The provider's number where its report has a time, else one more for each new message of the contact."""
    if report is not None and report.update_time_us:
        # Messages leave the provider's update time alone, so of reports of one time the newest message's counts.
        if newer or (report.update_time_us == conversation.provider_update_time_us and newest):
            conversation.unread_count = report.unread_count
    elif fresh is not None and fresh.direction is Direction.INBOUND and not fresh.deleted:
        conversation.unread_count += 1


def _is_echo(conversation: Conversation, message: Message) -> bool:
    return (
        message.author is Author.NATIVE_APP
        and message.direction is Direction.OUTBOUND
        and not message.deleted
        and (conversation.handoff_time is None or message.create_time >= conversation.handoff_time)
    )
