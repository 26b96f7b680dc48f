"""From the wire's description of a person to the canonical one."""

from __future__ import annotations

from uuid import UUID

from chassis import canonical, wire
from chassis.canonical import ExternalIdKind, Source
from chassis.errors import InvalidArgument
from prosa.identity.v1 import contact_service_pb2 as pb
from prosa.v1 import options_pb2
from services.identity.contacts.domain import AliasKind
from services.identity.contacts.junk import Blocked
from services.identity.contacts.resolution_batch import Ignored, Person

SOURCES = {options_pb2.SOURCE_WHATSAPP: Source.WHATSAPP, options_pb2.SOURCE_INSTAGRAM: Source.INSTAGRAM}
SOURCE_NUMBERS: dict[str, options_pb2.Source.ValueType] = {source.value: number for number, source in SOURCES.items()}

_ALIAS_KINDS = {
    pb.ALIAS_KIND_WHATSAPP_LID: AliasKind.WHATSAPP_LID,
    pb.ALIAS_KIND_WHATSAPP_BSUID: AliasKind.WHATSAPP_BSUID,
    pb.ALIAS_KIND_CHATWOOT_CONTACT: AliasKind.CHATWOOT_CONTACT,
    pb.ALIAS_KIND_CHATWOOT_SOURCE: AliasKind.CHATWOOT_SOURCE,
}
VALUE_BLOCKED = "VALUE_BLOCKED"
EMAIL_ADVICE = "Write the e-mail like maria@example.com."
PHONE_ADVICE = "Write the phone with its country, for example +5511900001234."
_PROVISIONAL_KINDS = {ExternalIdKind.LID: AliasKind.WHATSAPP_LID, ExternalIdKind.BSUID: AliasKind.WHATSAPP_BSUID}


def read_person(
    message: pb.Person, organization_id: UUID, region: str, blocked: Blocked, *, by_hand: bool = False
) -> Person:
    """The person in canonical form: the one place where a number gets its country, that of the organization's region.

    Raises InvalidArgument EXTERNAL_ID_INVALID where a source names nobody, and EXTERNAL_ID_AMBIGUOUS where typed digits
    are one number at home and another abroad. Phones and e-mails that are none, or nobody's, are only hints: they are
    left out, and the answer names them. A WhatsApp LID or business-scoped id gives way to the phone where there is one.
    ``by_hand`` says that somebody typed the external id, into a field that is read in the region first.
    """
    source = SOURCES.get(message.source)
    ignored: list[Ignored] = []
    phone = _hint_phone(message.phone, region, blocked, ignored) if message.phone else ""
    email = _hint_email(message.email, blocked, ignored) if message.email else ""
    aliases: dict[tuple[AliasKind, str], None] = {}
    for alias in message.aliases:
        if (known := _alias(alias, blocked)) is not None:
            aliases[known] = None
    external_id, address, unproven = "", clean(message.address), False
    if source is not None and message.external_id:
        identity, unproven = _named(message, source, region, phone, blocked, typed=message.external_id_typed or by_hand)
        external_id = identity.external_id
        if (kind := _PROVISIONAL_KINDS.get(identity.kind)) is not None:
            aliases = {(kind, external_id.partition(":")[2]): None, **aliases}
    if source is Source.WHATSAPP and message.written_number:
        written = canonical.try_normalize_phone(message.written_number, region)
        is_lid = written is not None and (AliasKind.WHATSAPP_LID, written.removeprefix("+")) in aliases
        if written is not None and not is_lid and (written == external_id or not blocked.number(written)):
            if not canonical.lacks_country(message.written_number):
                address = clean(message.written_number)
            elif written != external_id:
                address = ""
            external_id, phone = written, phone or written
    if (AliasKind.WHATSAPP_LID, phone.removeprefix("+")) in aliases:
        # Some bridges write a LID into the phone field when they have nothing else.
        phone = ""
    if source is Source.WHATSAPP and not external_id.startswith("+"):
        external_id = phone or external_id or _provisional(aliases)
    return Person(
        organization_id=organization_id,
        source=source.value if source is not None and external_id else "",
        external_id=external_id,
        address=address,
        name=clean(message.name),
        phone=phone,
        email=email,
        aliases=tuple(aliases),
        create_missing=message.create_missing,
        update_profile=message.update_profile,
        profile_time=wire.from_timestamp(message.profile_time) if message.HasField("profile_time") else None,
        cause_id=clean(message.cause_id),
        channel=source.value if source is not None else "",
        unproven=unproven,
        typed=message.external_id_typed,
        username=clean(message.username).removeprefix("@"),
        removed_phone=_removed_phone(message.removed_phone, region) if message.removed_phone else "",
        removed_email=read_email(message.removed_email) if message.removed_email else "",
        removed_name=clean(message.removed_name),
        ignored=tuple(ignored),
    )


def _named(
    message: pb.Person, source: Source, region: str, phone: str, blocked: Blocked, *, typed: bool
) -> tuple[canonical.CanonicalIdentity, bool]:
    """Whom the external id names; and whether it is only good for finding who is known by it already."""
    text = message.external_id
    if source is not Source.WHATSAPP or not typed:
        return canonical.identify(source, text, region), False
    if message.external_id_typed and phone in canonical.readings(text, region):
        # The caller said which of the two is meant.
        return canonical.identify(source, phone, region), blocked.number(phone)
    try:
        read = canonical.identify_typed if message.external_id_typed else canonical.identify
        identity = read(source, text, region)
    except InvalidArgument as error:
        known = canonical.own_key(text) if error.reason == "EXTERNAL_ID_INVALID" else None
        if known is None:
            raise
        return canonical.identify(source, known, region), True
    return identity, identity.phone is not None and "@" not in text and blocked.number(identity.phone)


def _hint_phone(text: str, region: str, blocked: Blocked, ignored: list[Ignored]) -> str:
    phone = canonical.try_normalize_phone(text, region)
    if phone is None and blocked.word(text.strip("+ ")):
        ignored.append(Ignored("phone", VALUE_BLOCKED, "This phone is nobody's. Leave the field out."))
    elif phone is None:
        ignored.append(Ignored("phone", "PHONE_INVALID", PHONE_ADVICE))
    elif blocked.phone(phone):
        ignored.append(Ignored("phone", VALUE_BLOCKED, f"{phone} is nobody's phone. Leave the field out."))
    else:
        return phone
    return ""


def _hint_email(text: str, blocked: Blocked, ignored: list[Ignored]) -> str:
    email = read_email(text)
    if blocked.email(email) if email else blocked.word(text):
        ignored.append(Ignored("email", VALUE_BLOCKED, "This e-mail is nobody's. Leave the field out."))
    elif not email:
        ignored.append(Ignored("email", "EMAIL_INVALID", EMAIL_ADVICE))
    else:
        return email
    return ""


def _removed_phone(text: str, region: str) -> str:
    return canonical.try_normalize_phone(text, region) or ""


def unreadable_person(message: pb.Person, organization_id: UUID) -> Person:
    """What the log says of a person who could not be read: the external id as it was given."""
    source = SOURCES.get(message.source)
    return Person(
        organization_id=organization_id,
        source=source.value if source is not None else "",
        external_id=clean(message.external_id),
        address="",
        name="",
        phone="",
        email="",
        aliases=(),
        create_missing=False,
        update_profile=False,
        cause_id=clean(message.cause_id),
    )


def clean(text: str) -> str:
    """Text without blanks around it and without NUL, which PostgreSQL refuses."""
    return (text.replace("\0", "") if "\0" in text else text).strip()


def read_email(text: str) -> str:
    """An e-mail in lower case; empty where it is none."""
    email = clean(text).lower()
    name, at, host = email.rpartition("@")
    return email if at and name and "." in host and not any(letter.isspace() for letter in email) else ""


def normalize_phone(text: str, region: str) -> str:
    """A phone as kept; empty stays empty. Raises InvalidArgument PHONE_INVALID."""
    return canonical.normalize_phone(text, region) if text.strip() else ""


def find_phone(text: str, region: str) -> str:
    """A phone to look for, as kept: also one that WhatsApp names and the plan does not know. Empty stays empty.

    Raises InvalidArgument PHONE_INVALID.
    """
    known = None if canonical.try_normalize_phone(text, region) else canonical.own_key(text)
    return known.partition(":")[2] if known is not None else normalize_phone(text, region)


def require_email(text: str) -> str:
    """An e-mail as kept; empty stays empty. Raises InvalidArgument EMAIL_INVALID."""
    email = read_email(text)
    if not email and text.strip():
        raise InvalidArgument("EMAIL_INVALID", EMAIL_ADVICE)
    return email


def _alias(alias: pb.Alias, blocked: Blocked) -> tuple[AliasKind, str] | None:
    """The alias in its one form, or None where it is none."""
    kind = _ALIAS_KINDS.get(alias.kind)
    if kind is None:
        return None
    if kind is AliasKind.WHATSAPP_LID:
        text = alias.value if "@" in alias.value else f"lid:{alias.value.removeprefix('lid:')}"
        identity = canonical.try_identify(Source.WHATSAPP, text)
        return (kind, identity.external_id[4:]) if identity and identity.kind is ExternalIdKind.LID else None
    if kind is AliasKind.WHATSAPP_BSUID:
        identity = canonical.try_identify(Source.WHATSAPP, alias.value)
        return (kind, identity.external_id[6:]) if identity and identity.kind is ExternalIdKind.BSUID else None
    value = clean(alias.value)
    # "<connection>:22:undefined" would be shared by all whose program had no id at hand.
    return (
        None
        if not value or (kind is AliasKind.CHATWOOT_SOURCE and blocked.word(value.split(":", 2)[-1]))
        else (kind, value)
    )


def _provisional(aliases: dict[tuple[AliasKind, str], None]) -> str:
    """The external id of somebody of whom only a LID or a business-scoped id is known."""
    for wanted, prefix in ((AliasKind.WHATSAPP_LID, "lid:"), (AliasKind.WHATSAPP_BSUID, "bsuid:")):
        for kind, value in aliases:
            if kind is wanted:
                return prefix + value
    return ""
