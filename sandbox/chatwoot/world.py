"""What happens in the account: people write, agents answer, conversations change; each tells the listeners.

Every mutation announces the webhook events that the real thing announces for it, in the order in which it
announces them. Nothing here sends.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Literal

from sandbox.chatwoot import payloads
from sandbox.chatwoot.account_setup import AccountSetup, RefusedError
from sandbox.chatwoot.address_book import AddressBook
from sandbox.chatwoot.draws import Draws
from sandbox.chatwoot.people import Person
from sandbox.chatwoot.records import (
    ACTIVITY,
    API,
    FACEBOOK_PAGE,
    INCOMING,
    INSTAGRAM,
    OUTGOING,
    STATUSES,
    TEMPLATE,
    WHATSAPP,
    Account,
    Agent,
    Attachment,
    Attributes,
    Bot,
    Contact,
    ContactInbox,
    Conversation,
    Event,
    Inbox,
    Message,
    Team,
)

UNREAD_COUNT_MAX = 10
CONTENT_LENGTH_MAX = 150_000
DELETED_TEXT = "Esta mensagem foi excluída"

DeliveryStatus = Literal["sent", "delivered", "read", "failed"]
Listener = Callable[[Event], None]
Sender = Contact | Agent | Bot | None
Change = tuple[Any, Any]


class World:
    """One Chatwoot account in memory. The same seed, clock and calls give the same bytes.

    With `build_late`, a body is built when it is first read, like the background job of the real thing: a
    message_created may then show a later state of its conversation. Contacts, conversations and messages count from
    `first_id`: a world that begins anew beside a memory of the last one must not use its ids again.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        *,
        seed: int = 0,
        account_id: int = 1,
        account_name: str = "Escola Ipê Idiomas",
        build_late: bool = False,
        first_id: int = 1,
    ) -> None:
        self.draws = Draws(seed)
        self.account = Account(account_id, account_name)
        self.setup = AccountSetup(self.account, self.draws)
        self.book = AddressBook(self.account, self.draws, now, first_id)
        self.conversations: dict[int, Conversation] = {}
        self.messages: dict[int, Message] = {}
        self._now = now
        self._build_late = build_late
        self._first_id = first_id
        self._listeners: list[Listener] = []
        self._attachment_count = first_id - 1
        self._latest: dict[int, Conversation] = {}

    def now(self) -> datetime:
        """The world's time, from the injected clock."""
        return self._now()

    def listen(self, listener: Listener) -> None:
        """Calls the listener with every event from here on, at once and in order."""
        self._listeners.append(listener)

    # People and their messages

    def incoming_message(
        self,
        inbox: Inbox,
        person: Person,
        text: str | None,
        *,
        attachments: Iterable[Attachment] = (),
        content_attributes: Attributes | None = None,
        content_type: str = "text",
        source_id: str | None = None,
    ) -> Message:
        """The person writes. Makes the contact and the conversation if they are new; a resolved one stays closed
        and a new one begins, unless the inbox locks to a single conversation."""
        row, known = self.book.reach(inbox, person)
        if not known:
            self._announce_contact("contact_created", row.contact)
        conversation, begun = self._conversation(row)
        if begun and inbox.channel == API:
            # Evolution makes the conversation first and writes into it afterwards, so it is announced empty.
            self._announce_conversation("conversation_created", conversation)
        return self.receive(
            conversation,
            text,
            begun=begun,
            attachments=list(attachments),
            content_attributes=_incoming_attributes(inbox, content_attributes),
            content_type=content_type,
            source_id=source_id or self._provider_id(conversation),
        )

    def receive(self, conversation: Conversation, text: str | None, *, begun: bool = False, **fields: Any) -> Message:
        """The contact of this conversation writes into it, whatever its status; resolved and snoozed ones reopen."""
        inbox, contact = conversation.inbox, conversation.contact
        before = self._state(conversation)
        message = self._write(conversation, text, INCOMING, sender=contact, **fields)
        conversation.unread_count = min(UNREAD_COUNT_MAX, conversation.unread_count + 1)
        conversation.waiting_since = conversation.waiting_since or message.created_at
        if conversation.status in ("resolved", "snoozed"):
            conversation.status, conversation.snoozed_until = "open", None
        if begun and inbox.channel != API:
            self._announce_conversation("conversation_created", conversation)
        self._announce_message("message_created", message)
        self._announce_changes(conversation, before)
        self._touch_contact(contact, last_activity_at=message.created_at)
        if begun and inbox.greeting:
            self.template_message(conversation, inbox.greeting)
        return message

    def agent_reply(
        self,
        conversation: Conversation,
        agent: Agent | Bot,
        text: str,
        *,
        content_attributes: Attributes | None = None,
        content_type: str = "text",
        source_id: str | None = None,
    ) -> Message:
        """An agent or bot answers. The provider's id is missing until `provider_accepts`."""
        before = self._state(conversation)
        message = self._write(
            conversation,
            text,
            OUTGOING,
            sender=agent,
            source_id=source_id,
            content_type=content_type,
            content_attributes=dict(content_attributes or {}),
        )
        if isinstance(agent, Agent):
            self._human_replied(conversation, message)
            conversation.agent_last_seen_at = message.created_at
        self._announce_message("message_created", message)
        self._announce_changes(conversation, before)
        return message

    def provider_accepts(self, message: Message) -> None:
        """The channel took the message: its id arrives, in a message_updated. API inboxes have no such channel."""
        if message.conversation.inbox.channel == API or message.source_id is not None:
            return
        message.source_id = self._provider_id(message.conversation)
        self._update_message(message)

    def status_update(self, message: Message, status: DeliveryStatus, *, error: str | None = None) -> None:
        """The provider reports delivered, read or failed: one message_updated, without the status at its root."""
        message.status = status
        if error is not None:
            message.content_attributes["external_error"] = error
        self._update_message(message)

    def native_app_echo(self, conversation: Conversation, text: str) -> Message:
        """Someone of the business answers on the phone itself.

        WhatsApp and Instagram show it as an external echo without sender; Evolution as the owner of its token,
        told apart by the `WAID:` in its source id alone.
        """
        before = self._state(conversation)
        if conversation.inbox.channel == API:
            owner = next((a for a in self.setup.agents.values() if a.role == "administrator"), None)
            message = self._write(conversation, text, OUTGOING, sender=owner, source_id=self._provider_id(conversation))
        else:
            message = self._write(
                conversation,
                text,
                OUTGOING,
                source_id=self._provider_id(conversation),
                content_attributes={"external_echo": True},
                status="delivered",
            )
        self._human_replied(conversation, message)
        self._announce_message("message_created", message)
        self._announce_changes(conversation, before)
        return message

    def private_note(self, conversation: Conversation, agent: Agent, text: str) -> Message:
        """A note among colleagues: outgoing and private, never in `messages[]`."""
        message = self._write(conversation, text, OUTGOING, sender=agent, private=True)
        self._announce_message("message_created", message)
        return message

    def template_message(self, conversation: Conversation, text: str) -> Message:
        """The inbox's automatic greeting: type template, without sender."""
        message = self._write(conversation, text, TEMPLATE)
        self._announce_message("message_created", message)
        return message

    def automation_message(self, conversation: Conversation, text: str, rule_id: int) -> Message:
        """What an automation rule writes: outgoing, without sender."""
        message = self._write(conversation, text, OUTGOING, content_attributes={"automation_rule_id": rule_id})
        self._announce_message("message_created", message)
        return message

    def edit_message(self, message: Message, text: str) -> None:
        """The text changes under the same id."""
        message.content = _checked_content(text)
        self._update_message(message)

    def delete_message(self, message: Message) -> None:
        """Deleted or unsent: a localised text takes the place of the content, the attachments go."""
        message.content = DELETED_TEXT
        message.content_attributes = {"deleted": True}
        message.attachments = []
        self._update_message(message)

    # The conversation around them

    def set_status(self, conversation: Conversation, status: str, *, snoozed_until: datetime | None = None) -> None:
        """One click yields conversation_status_changed and conversation_updated, and an activity without webhook."""
        if status not in STATUSES:
            raise ValueError(status)
        before = self._state(conversation)
        conversation.status = status
        conversation.snoozed_until = snoozed_until if status == "snoozed" else None
        if before["status"] != status:
            conversation.waiting_since = None if status == "resolved" else conversation.waiting_since
            self._write(conversation, f"A conversa passou para {status}", ACTIVITY)
        self._announce_changes(conversation, before)

    def resolve(self, conversation: Conversation) -> None:
        """The conversation is over."""
        self.set_status(conversation, "resolved")

    def set_labels(self, conversation: Conversation, labels: Iterable[str]) -> None:
        """Replaces the whole set, as the API does; an unchanged set announces nothing."""
        before = self._state(conversation)
        conversation.labels = list(dict.fromkeys(labels))
        self._announce_changes(conversation, before)

    def add_label(self, conversation: Conversation, label: str) -> None:
        """One more label."""
        self.set_labels(conversation, [*conversation.labels, label])

    def assign(self, conversation: Conversation, assignee: Agent | Bot | None, team: Team | None = None) -> None:
        """Hands the conversation over; a team stays unless another is given."""
        before = self._state(conversation)
        conversation.assignee = assignee
        conversation.team = team or conversation.team
        self._announce_changes(conversation, before)

    def set_team(self, conversation: Conversation, team: Team | None) -> None:
        """Hands the conversation to a team, or takes it away."""
        before = self._state(conversation)
        conversation.team = team
        self._announce_changes(conversation, before)

    def set_priority(self, conversation: Conversation, priority: str | None) -> None:
        """low, medium, high, urgent or none."""
        before = self._state(conversation)
        conversation.priority = priority
        self._announce_changes(conversation, before)

    def set_custom_attributes(self, conversation: Conversation, attributes: Attributes) -> None:
        """Replaces the whole object, as the API does."""
        before = self._state(conversation)
        conversation.custom_attributes = dict(attributes)
        self._announce_changes(conversation, before)

    def typing(self, conversation: Conversation, actor: Agent | Contact, *, on: bool = True) -> None:
        """Someone types, or stops."""
        name = "conversation_typing_on" if on else "conversation_typing_off"
        self._announce(
            name,
            f"conversation:{conversation.id}",
            lambda: payloads.typing_event(name, actor, conversation, private=False),
            inbox_id=conversation.inbox.id,
        )

    def edit_contact(self, contact: Contact, **changes: Any) -> None:
        """Changes name, email, phone_number, identifier, blocked or the attribute objects of a contact."""
        if "phone_number" in changes:
            self.book.check_phone(contact, changes["phone_number"])
        previous = contact.phone_number
        self._touch_contact(contact, **changes)
        if previous != contact.phone_number:
            self.book.reindex_phone(contact, previous)

    def attachment(self, file_type: str, data_url: str, **known: Any) -> Attachment:
        """A file for `incoming_message`; Instagram's own links serve as their thumbnail too."""
        self._attachment_count += 1
        return Attachment(
            id=self._attachment_count,
            file_type=file_type,
            data_url=data_url,
            thumb_url=known.pop("thumb_url", data_url if file_type == "image" else ""),
            content_type=known.pop("content_type", "image/jpeg"),
            file_size=known.pop("file_size", 1024),
            **known,
        )

    # What the mutations rest on

    def _conversation(self, row: ContactInbox) -> tuple[Conversation, bool]:
        latest = self._latest.get(row.id)
        if latest is not None and (row.inbox.lock_to_single_conversation or latest.status != "resolved"):
            return latest, False
        now = self._now()
        conversation = Conversation(
            id=len(self.conversations) + self._first_id,
            uuid=self.draws.uuid(),
            account=self.account,
            contact_inbox=row,
            status="pending" if row.inbox.starts_pending else "open",
            created_at=now,
            updated_at=now,
            last_activity_at=now,
            waiting_since=now,
            additional_attributes={"type": "instagram_direct_message"} if row.inbox.channel == FACEBOOK_PAGE else {},
        )
        self.conversations[conversation.id] = conversation
        self._latest[row.id] = conversation
        return conversation, True

    def _write(self, conversation: Conversation, content: str | None, message_type: int, **fields: Any) -> Message:
        now = self._now()
        message = Message(
            id=len(self.messages) + self._first_id,
            conversation=conversation,
            content=_checked_content(content),
            message_type=message_type,
            created_at=now,
            updated_at=now,
            **fields,
        )
        self.messages[message.id] = message
        conversation.messages.append(message)
        conversation.last_activity_at = now
        # A plain message touches the row without announcing it; the float still grows, as receivers rely on.
        self._touch(conversation)
        return message

    def _human_replied(self, conversation: Conversation, message: Message) -> None:
        conversation.first_reply_created_at = conversation.first_reply_created_at or message.created_at
        conversation.waiting_since = None
        conversation.unread_count = 0

    def _provider_id(self, conversation: Conversation) -> str:
        channel = conversation.inbox.channel
        if channel == WHATSAPP:
            return self.draws.whatsapp_message_id(conversation.contact_inbox.source_id)
        if channel == API:
            return self.draws.evolution_message_id()
        return self.draws.instagram_message_id()

    def _touch(self, conversation: Conversation) -> None:
        conversation.updated_at = max(self._now(), conversation.updated_at + timedelta(microseconds=1))

    def _touch_contact(self, contact: Contact, **values: Any) -> None:
        changes: dict[str, Change] = {}
        for column, value in values.items():
            if getattr(contact, column) != value:
                changes[column] = (getattr(contact, column), value)
                setattr(contact, column, value)
        if changes:
            previous = contact.updated_at
            contact.updated_at = max(self._now(), previous + timedelta(microseconds=1))
            self._announce_contact("contact_updated", contact, changes | {"updated_at": (previous, contact.updated_at)})

    def _update_message(self, message: Message) -> None:
        message.updated_at = max(self._now(), message.updated_at + timedelta(microseconds=1))
        self._announce_message("message_updated", message)

    def _state(self, conversation: Conversation) -> dict[str, Any]:
        """The columns whose change is announced, as changed_attributes shows them."""
        assignee = conversation.assignee
        return {
            "status": conversation.status,
            "assignee_id": assignee.id if isinstance(assignee, Agent) else None,
            "assignee_agent_bot_id": assignee.id if isinstance(assignee, Bot) else None,
            "updated_at": conversation.updated_at,
            "team_id": conversation.team.id if conversation.team else None,
            "snoozed_until": conversation.snoozed_until,
            "custom_attributes": conversation.custom_attributes,
            "first_reply_created_at": conversation.first_reply_created_at,
            "priority": conversation.priority,
            "waiting_since": conversation.waiting_since,
            "cached_label_list": ", ".join(conversation.labels),
            "label_list": list(conversation.labels),
        }

    def _announce_changes(self, conversation: Conversation, before: dict[str, Any]) -> None:
        after = self._state(conversation)
        changes = {column: (before[column], after[column]) for column in after if before[column] != after[column]}
        if not changes.keys() - {"updated_at"}:
            return
        self._touch(conversation)
        changes["updated_at"] = (before["updated_at"], conversation.updated_at)
        if "status" in changes:
            self._announce_conversation("conversation_status_changed", conversation)
        self._announce_conversation("conversation_updated", conversation, changes)

    def _announce_message(self, name: str, message: Message) -> None:
        conversation = message.conversation
        self._announce(
            name,
            f"conversation:{conversation.id}",
            lambda: payloads.message_event(name, message),
            inbox_id=conversation.inbox.id,
            message_id=message.id,
        )

    def _announce_conversation(
        self, name: str, conversation: Conversation, changes: dict[str, Change] | None = None
    ) -> None:
        self._announce(
            name,
            f"conversation:{conversation.id}",
            lambda: payloads.conversation_event(name, conversation, changes),
            inbox_id=conversation.inbox.id,
        )

    def _announce_contact(self, name: str, contact: Contact, changes: dict[str, Change] | None = None) -> None:
        self._announce(name, f"contact:{contact.id}", lambda: payloads.contact_event(name, contact, changes))

    def _announce(
        self,
        name: str,
        order_key: str,
        build: Callable[[], payloads.Payload],
        *,
        inbox_id: int | None = None,
        message_id: int | None = None,
    ) -> None:
        event = Event(name, order_key, lambda: payloads.compact_json(build()), inbox_id, message_id)
        if not self._build_late and self._listeners:
            event.body()
        for listener in self._listeners:
            listener(event)


def _checked_content(content: str | None) -> str | None:
    if content is None:
        return None
    if len(content) > CONTENT_LENGTH_MAX:
        raise RefusedError(f"Content is too long (maximum is {CONTENT_LENGTH_MAX} characters)", "content")
    # A lone surrogate cannot be stored by PostgreSQL nor sent as UTF-8.
    return content.encode("utf-8", "replace").decode()


def _incoming_attributes(inbox: Inbox, given: Attributes | None) -> Attributes:
    # Meta's builders write this key with null on ordinary messages too.
    usual: Attributes = {"in_reply_to_external_id": None} if inbox.channel in (INSTAGRAM, FACEBOOK_PAGE) else {}
    return usual | (given or {})
