"""Contacts and their addresses: how a person is found again in an inbox, or becomes a new contact."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sandbox.chatwoot.account_setup import RefusedError
from sandbox.chatwoot.draws import Draws
from sandbox.chatwoot.people import Person
from sandbox.chatwoot.records import (
    API,
    FACEBOOK_PAGE,
    INSTAGRAM,
    WHATSAPP,
    Account,
    Attributes,
    Contact,
    ContactInbox,
    Inbox,
)


class AddressBook:
    """The contacts of one account and their contact inboxes, found by source id, phone or identifier."""

    def __init__(self, account: Account, draws: Draws, now: Callable[[], datetime], first_id: int = 1) -> None:
        self.contacts: dict[int, Contact] = {}
        self.contact_inboxes: dict[int, ContactInbox] = {}
        self._account, self._draws, self._now, self._first_id = account, draws, now, first_id
        self._by_source: dict[tuple[int, str], ContactInbox] = {}
        self._by_contact: dict[tuple[int, int], ContactInbox] = {}
        self._by_phone: dict[str, Contact] = {}
        self._by_identifier: dict[str, Contact] = {}

    def by_source(self, inbox_id: int, source_id: str) -> ContactInbox | None:
        """The one sure way from an IGSID to its contact."""
        return self._by_source.get((inbox_id, source_id))

    def rows_of(self, contact: Contact) -> list[ContactInbox]:
        """Every address under which the account knows the contact."""
        return [row for row in self.contact_inboxes.values() if row.contact is contact]

    def reach(self, inbox: Inbox, person: Person) -> tuple[ContactInbox, bool]:
        """The person's row in this inbox, and whether the contact was known before."""
        source_id, phone, identifier = _address(inbox, person)
        row = self._by_source.get((inbox.id, source_id)) if source_id else None
        if row is not None:
            return row, True
        contact = self._by_phone.get(phone or "") or self._by_identifier.get(identifier or "")
        if contact is None:
            contact = self._add_contact(inbox, person, phone, identifier)
            return self._add_row(inbox, contact, source_id), False
        # An API inbox draws its source ids, so there the contact alone leads back to the row.
        row = None if source_id else self._by_contact.get((inbox.id, contact.id))
        return row or self._add_row(inbox, contact, source_id), True

    def check_phone(self, contact: Contact, phone: str | None) -> None:
        """Refuses a number that another contact has."""
        owner = self._by_phone.get(phone or "")
        if owner is not None and owner is not contact:
            raise RefusedError("Phone number has already been taken", "phone_number")

    def reindex_phone(self, contact: Contact, previous: str | None) -> None:
        """Follows a changed number."""
        if previous:
            self._by_phone.pop(previous, None)
        if contact.phone_number:
            self._by_phone[contact.phone_number] = contact

    def _add_contact(self, inbox: Inbox, person: Person, phone: str | None, identifier: str | None) -> Contact:
        now = self._now()
        contact = Contact(
            id=len(self.contacts) + self._first_id,
            account=self._account,
            name=person.name,
            email=None,
            phone_number=phone,
            identifier=identifier,
            additional_attributes=_social_attributes(inbox, person),
            custom_attributes={},
            created_at=now,
            updated_at=now,
        )
        self.contacts[contact.id] = contact
        if phone:
            self._by_phone[phone] = contact
        if identifier:
            self._by_identifier[identifier] = contact
        return contact

    def _add_row(self, inbox: Inbox, contact: Contact, source_id: str | None) -> ContactInbox:
        now = self._now()
        row = ContactInbox(
            id=len(self.contact_inboxes) + self._first_id,
            contact=contact,
            inbox=inbox,
            source_id=source_id or self._draws.uuid(),
            pubsub_token=self._draws.token(),
            created_at=now,
            updated_at=now,
        )
        self.contact_inboxes[row.id] = row
        self._by_source[inbox.id, row.source_id] = row
        self._by_contact[inbox.id, contact.id] = row
        return row


def _address(inbox: Inbox, person: Person) -> tuple[str | None, str | None, str | None]:
    """Source id, phone and identifier of the person in this kind of inbox; None where Chatwoot draws a UUID."""
    digits = (person.phone or "").removeprefix("+")
    if inbox.channel == WHATSAPP and (person.bsuid or digits):
        return person.bsuid or digits, person.phone, None
    if inbox.channel in (INSTAGRAM, FACEBOOK_PAGE) and person.igsid:
        return person.igsid, None, None
    if inbox.channel == API and (digits or person.identifier):
        return None, person.phone, person.identifier or f"{digits}@s.whatsapp.net"
    raise RefusedError(f"{person.name} cannot be reached on {inbox.channel}")


def _social_attributes(inbox: Inbox, person: Person) -> Attributes:
    if not person.username or inbox.channel not in (INSTAGRAM, FACEBOOK_PAGE):
        return {}
    shared: dict[str, Any] = {
        "social_profiles": {"instagram": person.username},
        "social_instagram_user_name": person.username,
    }
    if inbox.channel == FACEBOOK_PAGE:
        return shared
    return shared | {
        "social_instagram_follower_count": 100 + len(person.name) * 37,
        "social_instagram_is_verified_user": False,
        "social_instagram_is_business_follow_user": False,
        "social_instagram_is_user_follow_business": True,
    }
