"""What says that whom a provider's reference leads to is the one who is described, or somebody else. Pure.

A provider that was put back from an older copy gives its ids anew: the contact id that was Ana's is then Bruno's.
Nothing in the reference shows it, only what comes with it. See docs/adr/0006.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from services.identity.contacts.domain import is_phone_key
from services.identity.contacts.junk import WORDS

if TYPE_CHECKING:
    from services.identity.contacts.domain import Contact
    from services.identity.contacts.resolution_batch import Person


def is_doubted(person: Person, contact: Contact, numbers: int | None) -> bool:
    """Whether a new id is not to be linked to the contact for a reference's sake alone.

    Nothing that is said of the person is known of the contact, and something else is: another number where a number is
    new, or another name. ``numbers`` is how many WhatsApp numbers the contact has; None where that is not known.
    """
    name, known_name = fold_name(person.name), fold_name(contact.name)
    if known_name and known_name in (name, fold_name(person.removed_name)):
        return False
    if contact.email and contact.email in (person.email, person.removed_email):
        return False
    if contact.phone and contact.phone in (*person.phones(), person.removed_phone):
        return False
    if name and known_name:
        return True
    # A name that is not told contradicts nothing, and agrees with nothing either.
    has_number = bool(contact.phone) or numbers is None or numbers > 0
    return is_phone_key(person.source, person.external_id) and has_number


def fold_name(name: str) -> str:
    """A name for comparing; empty where it is none."""
    folded = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    return "" if folded in WORDS or not any(sign.isalpha() for sign in folded) else folded
