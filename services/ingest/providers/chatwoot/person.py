"""Who the customer of a Chatwoot payload is: the identity its fields prove, and the aliases that lead to the contact.

Names are never looked at for an identity: they may be a phone, a business-scoped id or two random words.
"""

import re
from functools import lru_cache

from chassis.canonical import CanonicalIdentity, Source, is_bsuid, lacks_country, try_identify
from services.ingest.normal_form import Alias, AliasKind, Note, Person
from services.ingest.providers.fields import Json, email, obj, text

PEOPLE_CACHED_MAX = 16_384
"""Whoever writes now writes several messages, each of which names them anew; an entry costs about 500 bytes."""
CONTROL_PHONE = "+123456"
_GROUP_SERVERS = ("@g.us", "@broadcast", "@newsletter")
_LID_SERVERS = ("@lid", "@hosted.lid")
# "wispy-sunset-371": what Chatwoot calls an Instagram profile that tells no name.
_RANDOM_NAME = re.compile(r"[a-z]+-[a-z]+-[0-9]{1,4}", re.ASCII)
# Older flows made such addresses up because the old API demanded one.
_INVENTED_EMAIL_DOMAIN = "@chat.local"
_USERNAME_KEYS = (("social_instagram_user_name", "instagram"), ("social_whatsapp_user_name", "whatsapp"))
# Instagram's and WhatsApp's are letters, digits, dots and underscores.
_USERNAME = re.compile(r"[\w.]{1,100}")
_WHATSAPP_INBOX = "Channel::Whatsapp"
# A LID has 14 or 15 digits; a number as long as that is one where the plan of numbers knows it.
_BARE_LID = re.compile(r"[1-9][0-9]{13,14}", re.ASCII)
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
    source: Source | None = None,
    channel: str = "",
    inbox_id: str | None = None,
    source_id: str | None = None,
    bridged: bool = False,
) -> tuple[Person, tuple[Note, ...]]:
    """Reads the customer. `source` is None for contact events, in which only a phone or WhatsApp id can identify.

    `channel` is Chatwoot's class name or ""; `source_id` is that of the contact inbox. `bridged` says that
    WhatsApp inboxes of this Chatwoot may be bridges of a paired phone, whose source ids are LIDs without a word.
    """
    aliases: list[Alias] = []
    if contact_id is not None:
        aliases.append(Alias(AliasKind.CHATWOOT_CONTACT, contact_id))
    if inbox_id is not None and source_id is not None:
        aliases.append(Alias(AliasKind.CHATWOOT_SOURCE, f"{inbox_id}:{source_id}"))
    written = text(contact.get("phone_number"))
    notes: tuple[Note, ...] = ()
    if source is Source.INSTAGRAM:
        own = identity = _instagram_identity(contact, source_id)
        typed = None if written is None else _typed(written)
        phone = None if typed is None else typed.phone
    else:
        own, identity, written, notes = _whatsapp_identity(
            contact, channel, source_id, written, aliases, bridged=bridged
        )
        phone = None if identity is None else identity.phone
    return (
        Person(
            identity=identity,
            aliases=tuple(aliases),
            phone=phone,
            name=_name(contact),
            email=_email(contact),
            own=own,
            written=written,
            username=_username(contact, source or (Source.WHATSAPP if own or written else None)),
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
    contact: Json,
    channel: str,
    source_id: str | None,
    written: str | None,
    aliases: list[Alias],
    *,
    bridged: bool,
) -> tuple[CanonicalIdentity | None, CanonicalIdentity | None, str | None, tuple[Note, ...]]:
    """What WhatsApp names, the identity as far as it can be told here, the number as written, and notes.

    Prefers phone, then LID, then BSUID, and keeps the latter two as aliases.
    """
    identifier = text(contact.get("identifier")) or ""
    lid = _lid(identifier, channel, source_id, bridged=bridged)
    bsuid = _bsuid(source_id) or _bsuid(identifier)
    if lid is not None:
        aliases.append(Alias(AliasKind.WHATSAPP_LID, lid.external_id.removeprefix("lid:")))
        if written is not None and written.lstrip("+") == lid.external_id.removeprefix("lid:"):
            written, notes = None, (Note.LID_IN_PHONE_FIELD,)
            return lid, lid, written, notes
    if bsuid is not None:
        aliases.append(Alias(AliasKind.WHATSAPP_BSUID, bsuid.external_id.removeprefix("bsuid:")))
    jid = try_identify(Source.WHATSAPP, identifier) if "@" in identifier and lid is None else None
    if jid is None or jid.phone is None:
        jid = _number_of_contact_inbox(channel, source_id, lid is not None)
    own, typed = jid or lid or bsuid, None if written is None else _typed(written)
    # Chatwoot leaves the identifier as it was when an agent corrects the phone.
    disagree = typed is not None and jid is not None and jid.key != typed.key
    return own, typed or own, written, (Note.PHONE_DISAGREES,) if disagree else ()


def _lid(identifier: str, channel: str, source_id: str | None, *, bridged: bool) -> CanonicalIdentity | None:
    """The LID that the identifier or the source id is; a bridge leaves its server out of the latter."""
    for named in (identifier, source_id or ""):
        if named.endswith(_LID_SERVERS):
            return try_identify(Source.WHATSAPP, named)
    if not bridged or channel != _WHATSAPP_INBOX or source_id is None or not _BARE_LID.fullmatch(source_id):
        return None
    is_number = try_identify(Source.WHATSAPP, f"+{source_id}") is not None
    return None if is_number else try_identify(Source.WHATSAPP, f"{source_id}@lid")


def _number_of_contact_inbox(channel: str, source_id: str | None, known_by_lid: bool) -> CanonicalIdentity | None:
    """Reads the source id: the phone's digits on WhatsApp Cloud, whatsapp:+digits on Twilio, random text elsewhere."""
    if source_id is None or known_by_lid:
        return None
    if source_id.isascii() and source_id.isdigit():
        if channel != _WHATSAPP_INBOX:
            return None
        return _number(f"whatsapp:+{source_id}", address=source_id)
    if source_id.startswith("+"):
        return _number(f"whatsapp:{source_id}", address=source_id)
    return _number(source_id, address=source_id) if source_id.startswith("whatsapp:+") or "@" in source_id else None


@lru_cache(maxsize=PEOPLE_CACHED_MAX)
def _number(own_id: str, address: str) -> CanonicalIdentity | None:
    found = try_identify(Source.WHATSAPP, own_id)
    if found is None or found.phone is None:
        return None
    return CanonicalIdentity(found.source, found.kind, found.external_id, address)


@lru_cache(maxsize=PEOPLE_CACHED_MAX)
def _typed(written: str) -> CanonicalIdentity | None:
    """The number that somebody wrote with its country; without one, only identity can read it."""
    found = None if lacks_country(written) else try_identify(Source.WHATSAPP, written)
    return None if found is None or found.phone is None else found


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


def _username(contact: Json, source: Source | None) -> str | None:
    """The account's name at the source: people know each other by it, and it may change hands."""
    attributes = obj(contact.get("additional_attributes"))
    if not attributes:
        return None
    profiles = obj(attributes.get("social_profiles"))
    keys = _USERNAME_KEYS if source is None else (_USERNAME_KEYS[source is Source.WHATSAPP],)
    found = [attributes.get(key) or profiles.get(profile) for key, profile in keys]
    for candidate in (*found, attributes.get("username")):
        username = (text(candidate) or "").removeprefix("@")
        if _USERNAME.fullmatch(username):
            return username
    return None
