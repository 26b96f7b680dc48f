"""Whose chat an Evolution event is of: what its key says of the other side. Pure.

Which of a key's fields holds the phone and which the LID has changed with every release, so each kind of id is taken
from wherever it stands.
"""

from __future__ import annotations

from chassis.canonical import CanonicalIdentity, ExternalIdKind, Source, try_identify
from services.ingest.normal_form import Alias, AliasKind, Person
from services.ingest.providers.fields import Json, identifier

# Judged by remoteJid alone: beside a status post stands the phone of who posted it.
_NO_PERSON = ("@g.us", "@broadcast", "@newsletter", "@bot")
_CHAT, _OTHER_FORMS = "remoteJid", ("remoteJidAlt", "senderPn", "previousRemoteJid", "senderLid")


def chat_of(key: Json) -> str | None:
    """The JID of the chat as it was written; None where there is none."""
    return identifier(key.get(_CHAT))


def is_no_person(jid: str) -> bool:
    """Whether a JID is a group's, a broadcast's (status posts are one), a newsletter's or a program's."""
    return jid.endswith(_NO_PERSON)


def identities(key: Json, *, own: bool) -> list[CanonicalIdentity]:
    """Who the other side is, as far as a key tells, phones first.

    Of what the number itself wrote only the chat counts: the other fields may then describe either side.
    """
    written = [chat_of(key)] if own else [identifier(key.get(field)) for field in (_CHAT, *_OTHER_FORMS)]
    found = [
        identity
        for jid in written
        if jid is not None and "@" in jid and (identity := try_identify(Source.WHATSAPP, jid)) is not None
    ]
    return sorted(found, key=lambda identity: identity.kind is not ExternalIdKind.PHONE)


def read_person(key: Json, name: str | None, *, own: bool) -> Person | None:
    """The contact of a direct chat, by the phone where one stands, with the LID beside it; None where neither does."""
    found = identities(key, own=own)
    if not found:
        return None
    lids = (one.external_id.removeprefix("lid:") for one in found if one.kind is ExternalIdKind.LID)
    return Person(
        identity=found[0],
        aliases=tuple(Alias(AliasKind.WHATSAPP_LID, lid) for lid in dict.fromkeys(lids)),
        phone=found[0].phone,
        name=None if own else name,
        own=found[0],
    )
