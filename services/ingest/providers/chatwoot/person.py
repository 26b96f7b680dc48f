"""Who the customer of a Chatwoot payload is: the identity its fields prove, and the aliases that lead to the contact.

Names are never looked at for an identity: they may be a phone, a business-scoped id or two random words.
"""

import re

from chassis.canonical import CanonicalIdentity, Source, is_bsuid, try_identify, try_normalize_phone
from services.ingest.normal_form import Alias, AliasKind, Note, Person
from services.ingest.providers.fields import Json, email, text

CONTROL_PHONE = "+123456"
_GROUP_SERVERS = ("@g.us", "@broadcast", "@newsletter")
_LID_SERVERS = ("@lid", "@hosted.lid")
# "wispy-sunset-371": what Chatwoot calls an Instagram profile that tells no name.
_RANDOM_NAME = re.compile(r"[a-z]+-[a-z]+-[0-9]{1,4}", re.ASCII)
# Older flows made such addresses up because the old API demanded one.
_INVENTED_EMAIL_DOMAIN = "@chat.local"
_PHONE_CHARACTERS = frozenset("+0123456789 ()-")


def is_group(contact: Json, source_id: str | None = None) -> bool:
    """Whether a contact stands for a WhatsApp group, broadcast or newsletter."""
    identifier = text(contact.get("identifier")) or ""
    return identifier.endswith(_GROUP_SERVERS) or (source_id or "").endswith(_GROUP_SERVERS)


def is_control_contact(contact: Json) -> bool:
    """Whether a contact is the one through which Evolution shows QR codes and takes commands."""
    return contact.get("phone_number") == CONTROL_PHONE or contact.get("identifier") in ("123456", CONTROL_PHONE)


def read_person(
    contact: Json,
    contact_id: str | None,
    *,
    region: str,
    source: Source | None = None,
    channel: str = "",
    inbox_id: str | None = None,
    source_id: str | None = None,
) -> tuple[Person, tuple[Note, ...]]:
    """Reads the customer. `source` is None for contact events, in which only a phone or WhatsApp id can identify.

    `channel` is Chatwoot's class name or ""; `source_id` is that of the contact inbox.
    """
    aliases: list[Alias] = []
    if contact_id is not None:
        aliases.append(Alias(AliasKind.CHATWOOT_CONTACT, contact_id))
    if inbox_id is not None and source_id is not None:
        aliases.append(Alias(AliasKind.CHATWOOT_SOURCE, f"{inbox_id}:{source_id}"))
    notes: tuple[Note, ...] = ()
    if source is Source.INSTAGRAM:
        identity = _instagram_identity(contact, source_id)
        phone = try_normalize_phone(text(contact.get("phone_number")) or "", region)
    else:
        identity, notes = _whatsapp_identity(contact, channel, source_id, region, aliases)
        phone = None if identity is None else identity.phone
    return (
        Person(
            identity=identity,
            aliases=tuple(aliases),
            phone=phone,
            name=_name(contact),
            email=_email(contact),
        ),
        notes,
    )


def _instagram_identity(contact: Json, source_id: str | None) -> CanonicalIdentity | None:
    """The contact inbox holds the Instagram-scoped id; only the legacy form and API inboxes put it into identifier."""
    for candidate in (source_id, text(contact.get("identifier"))):
        identity = candidate and try_identify(Source.INSTAGRAM, candidate)
        if identity:
            return identity
    return None


def _whatsapp_identity(
    contact: Json, channel: str, source_id: str | None, region: str, aliases: list[Alias]
) -> tuple[CanonicalIdentity | None, tuple[Note, ...]]:
    """Prefers phone, then LID, then BSUID, and keeps the latter two as aliases."""
    identifier = text(contact.get("identifier")) or ""
    lid = try_identify(Source.WHATSAPP, identifier) if identifier.endswith(_LID_SERVERS) else None
    bsuid = _bsuid(source_id) or _bsuid(identifier)
    if lid is not None:
        aliases.append(Alias(AliasKind.WHATSAPP_LID, lid.external_id.removeprefix("lid:")))
    if bsuid is not None:
        aliases.append(Alias(AliasKind.WHATSAPP_BSUID, bsuid.external_id.removeprefix("bsuid:")))
    phone, notes = _phone_identity(contact, channel, source_id, identifier, region, lid)
    return phone or lid or bsuid, notes


def _phone_identity(
    contact: Json, channel: str, source_id: str | None, identifier: str, region: str, lid: CanonicalIdentity | None
) -> tuple[CanonicalIdentity | None, tuple[Note, ...]]:
    lid_digits = "" if lid is None else lid.external_id.removeprefix("lid:")
    written = text(contact.get("phone_number"))
    notes: tuple[Note, ...] = ()
    if written is not None and lid_digits and written.lstrip("+") == lid_digits:
        written, notes = None, (Note.LID_IN_PHONE_FIELD,)
    phone = _phone(written, region)
    jid = try_identify(Source.WHATSAPP, identifier) if "@" in identifier and lid is None else None
    if jid is not None and jid.phone is None:
        jid = None
    if phone is not None:
        # Chatwoot leaves the identifier as it was when an agent corrects the phone.
        disagrees = jid is not None and jid.key != phone.key
        return phone, (*notes, Note.PHONE_DISAGREES) if disagrees else notes
    return jid or _phone_of_contact_inbox(channel, source_id, region, lid is not None), notes


def _phone_of_contact_inbox(
    channel: str, source_id: str | None, region: str, known_by_lid: bool
) -> CanonicalIdentity | None:
    """Reads the source id: the phone's digits on WhatsApp Cloud, whatsapp:+digits on Twilio, random text elsewhere."""
    if source_id is None or known_by_lid:
        return None
    if source_id.isascii() and source_id.isdigit():
        return _phone(f"+{source_id}", region, address=source_id) if channel == "Channel::Whatsapp" else None
    if source_id.startswith(("+", "whatsapp:+")) or "@" in source_id:
        return _phone(source_id, region)
    return None


def _phone(written: str | None, region: str, address: str | None = None) -> CanonicalIdentity | None:
    if written is None:
        return None
    found = try_identify(Source.WHATSAPP, written, region)
    if found is None or found.phone is None:
        return None
    return found if address is None else CanonicalIdentity(found.source, found.kind, found.external_id, address)


def _bsuid(candidate: str | None) -> CanonicalIdentity | None:
    if candidate is None or not is_bsuid(candidate.removeprefix("whatsapp:")):
        return None
    return try_identify(Source.WHATSAPP, candidate)


def _name(contact: Json) -> str | None:
    """The name for people to read, unless it is only an id or random words: then an older or empty name is better."""
    name = text(contact.get("name"))
    if name is None or is_bsuid(name) or _RANDOM_NAME.fullmatch(name):
        return None
    looks_dialled = _PHONE_CHARACTERS.issuperset(name) or name.endswith(("@s.whatsapp.net", *_LID_SERVERS))
    return None if looks_dialled else name


def _email(contact: Json) -> str | None:
    found = email(contact.get("email"))
    return None if found is None or found.endswith(_INVENTED_EMAIL_DOMAIN) else found
