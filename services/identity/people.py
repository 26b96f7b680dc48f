"""From the wire's description of a person to the canonical one."""

from __future__ import annotations

from uuid import UUID

from chassis import canonical, wire
from chassis.canonical import ExternalIdKind, Source
from chassis.errors import InvalidArgument
from prosa.identity.v1 import contact_service_pb2 as pb
from prosa.v1 import options_pb2
from services.identity.directory import Person
from services.identity.domain import AliasKind

SOURCES = {options_pb2.SOURCE_WHATSAPP: Source.WHATSAPP, options_pb2.SOURCE_INSTAGRAM: Source.INSTAGRAM}
SOURCE_NUMBERS: dict[str, options_pb2.Source.ValueType] = {source.value: number for number, source in SOURCES.items()}

_ALIAS_KINDS = {
    pb.ALIAS_KIND_WHATSAPP_LID: AliasKind.WHATSAPP_LID,
    pb.ALIAS_KIND_WHATSAPP_BSUID: AliasKind.WHATSAPP_BSUID,
    pb.ALIAS_KIND_CHATWOOT_CONTACT: AliasKind.CHATWOOT_CONTACT,
    pb.ALIAS_KIND_CHATWOOT_SOURCE: AliasKind.CHATWOOT_SOURCE,
}
_STAND_INS = {ExternalIdKind.LID: AliasKind.WHATSAPP_LID, ExternalIdKind.BSUID: AliasKind.WHATSAPP_BSUID}


def read_person(message: pb.Person, organization_id: UUID, region: str) -> Person:
    """The person in canonical form. Raises InvalidArgument EXTERNAL_ID_INVALID where a source names nobody.

    Phones and e-mails that are none are left out: they are only hints. A WhatsApp LID or business-scoped id gives way
    to the phone as soon as there is one.
    """
    source = SOURCES.get(message.source)
    phone = canonical.try_normalize_phone(message.phone, region) or "" if message.phone else ""
    aliases: dict[tuple[AliasKind, str], None] = {}
    for alias in message.aliases:
        if (known := _alias(alias)) is not None:
            aliases[known] = None
    external_id = ""
    if source is not None and message.external_id:
        identity = canonical.identify(source, message.external_id, region)
        external_id = identity.external_id
        if (kind := _STAND_INS.get(identity.kind)) is not None:
            aliases = {(kind, external_id.partition(":")[2]): None, **aliases}
    if (AliasKind.WHATSAPP_LID, phone.removeprefix("+")) in aliases:
        # Some bridges write a LID into the phone field when they have nothing else.
        phone = ""
    if source is Source.WHATSAPP and not external_id.startswith("+"):
        external_id = phone or external_id or _stand_in(aliases)
    return Person(
        organization_id=organization_id,
        source=source.value if source is not None and external_id else "",
        external_id=external_id,
        address=clean(message.address),
        name=clean(message.name),
        phone=phone,
        email=read_email(message.email) if message.email else "",
        aliases=tuple(aliases),
        create_missing=message.create_missing,
        update_profile=message.update_profile,
        profile_time=wire.from_timestamp(message.profile_time) if message.HasField("profile_time") else None,
        cause_id=clean(message.cause_id),
    )


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


def require_email(text: str) -> str:
    """An e-mail as kept; empty stays empty. Raises InvalidArgument EMAIL_INVALID."""
    email = read_email(text)
    if not email and text.strip():
        raise InvalidArgument("EMAIL_INVALID", "Write the e-mail like maria@example.com.")
    return email


def _alias(alias: pb.Alias) -> tuple[AliasKind, str] | None:
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
    return (kind, value) if value else None


def _stand_in(aliases: dict[tuple[AliasKind, str], None]) -> str:
    """The external id of somebody of whom only a LID or a business-scoped id is known."""
    for wanted, prefix in ((AliasKind.WHATSAPP_LID, "lid:"), (AliasKind.WHATSAPP_BSUID, "bsuid:")):
        for kind, value in aliases:
            if kind is wanted:
                return prefix + value
    return ""
