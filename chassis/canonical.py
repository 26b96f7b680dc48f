"""Canonical keys: the one place that says which person an external id names.

A key reads ``whatsapp:+<E.164>``, ``whatsapp:lid:<digits>``, ``whatsapp:bsuid:<id>`` or ``instagram:<IGSID>``. The
part after the first colon is the external id. Keys are never built from names, e-mails or placeholders such as
"unknown": what is no identity raises ``InvalidArgument``.

WhatsApp's own ids (a JID, or a whole key) are believed as they stand: 7 to 15 digits are a number, also where the
numbering plan has changed since. The plan judges what people type.
"""

import re
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

import phonenumbers

from chassis.errors import InvalidArgument

DEFAULT_REGION = "BR"
# Longer texts are refused before any pattern sees them. The longest genuine id, a business-scoped one, has 139.
EXTERNAL_ID_LENGTH_MAX = 256
# One import batch holds at most some tens of thousands of numbers; an entry costs about 300 bytes.
PHONE_CACHE_ENTRIES_MAX = 65_536
# Digits before a number with its plus that may be a word's or a flat's; more of them are another number.
DIGITS_IN_FRONT_MAX = 3
# LIDs have 14 or 15 digits. A number that long is believed only when the numbering plan knows it.
POSSIBLE_PHONE_DIGITS_MAX = 13

_BR_AREA = r"(?:1[1-9]|2[12478]|3[1-578]|4[1-9]|5[1345]|6[1-9]|7[134579]|8[1-9]|9[1-9])"
_BR_NUMBER = (
    rf"(?P<area>{_BR_AREA})(?:(?P<mobile>9[0-9]{{8}})|(?P<landline>[2-5][0-9]{{7}})|(?P<old_mobile>[6-9][0-9]{{7}}))"
)
_BR_INTERNATIONAL = re.compile(rf"\+55{_BR_NUMBER}", re.ASCII)
_BR_NATIONAL = re.compile(rf"(?:55|0)?{_BR_NUMBER}", re.ASCII)
_MX_OLD_MOBILE = re.compile(r"\+521([0-9]{10})", re.ASCII)
_AR_WITHOUT_NINE = re.compile(r"\+54([0-9]{10})", re.ASCII)
# The other way about: what the one text of a person may have been written as before it was one.
_OTHER_WRITINGS = (
    (re.compile(r"(\+55[0-9]{2})9([6-9][0-9]{7})", re.ASCII), ""),
    (re.compile(r"(\+52)([0-9]{10})", re.ASCII), "1"),
    (re.compile(r"(\+54)9([0-9]{10})", re.ASCII), ""),
)

# Blanks, dashes, brackets, dots and the invisible marks that come along when a number is copied out of an app.
_PHONE_DECORATION = re.compile("[\\s().\\-/\u2010-\u2015\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]+")
_PHONE = re.compile(r"\+?[0-9]{4,20}", re.ASCII)
_BARE = re.compile(r"[0-9]{4,20}", re.ASCII)
# "+49 30 123456/57": the end of a second number, which would make the first one longer.
_SHORTENED_SECOND = re.compile(r"/[\s]*[0-9]{1,3}\s*\Z", re.ASCII)
_OWN_NUMBER = re.compile(r"[1-9][0-9]{6,14}", re.ASCII)
_TRAILING_E164 = re.compile(r"\+[1-9][0-9]{6,14}\Z", re.ASCII)
_E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)

_JID = re.compile(r"(?P<user>[0-9]{4,20})(?:_[0-9]{1,5})?(?::[0-9]{1,5})?@(?P<server>[a-z.]{1,32})", re.ASCII)
_PHONE_SERVERS = frozenset({"s.whatsapp.net", "c.us", "hosted"})
_LID_SERVERS = frozenset({"lid", "hosted.lid"})
_LID = re.compile(r"[1-9][0-9]{4,19}", re.ASCII)
_BSUID = re.compile(r"[A-Z]{2}\.(?:ENT\.)?(?P<local>[A-Za-z0-9]{1,128})", re.ASCII)
_IGSID = re.compile(r"[1-9][0-9]{4,24}", re.ASCII)
# What programs write where they had nothing. Only the form of a business-scoped id would let one of them through.
_PLACEHOLDERS = frozenset({"undefined", "null", "none", "nil", "nan", "unknown", "anonymous"})

CANONICAL_KEY = re.compile(
    r"whatsapp:(?:\+[1-9][0-9]{6,14}|lid:[1-9][0-9]{4,19}|bsuid:[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128})"
    r"|instagram:[1-9][0-9]{4,24}",
    re.ASCII,
)


class Source(StrEnum):
    """The medium a person writes through; the values are those of the API."""

    WHATSAPP = "WHATSAPP"
    INSTAGRAM = "INSTAGRAM"


class ExternalIdKind(StrEnum):
    """What an external id is. A LID or BSUID may serve until the phone is known."""

    PHONE = "PHONE"
    LID = "LID"
    BSUID = "BSUID"
    IGSID = "IGSID"


_LOWER_SOURCE = {Source.WHATSAPP: "whatsapp", Source.INSTAGRAM: "instagram"}
_SOURCE_BY_NAME = {name: source for source in Source for name in (source.value, source.value.lower())}


class CanonicalIdentity(NamedTuple):
    """A person on one source, and the address exactly as it was given (where to send; the key may differ from it)."""

    source: Source
    kind: ExternalIdKind
    external_id: str
    address: str

    @property
    def key(self) -> str:
        return f"{_LOWER_SOURCE[self.source]}:{self.external_id}"

    @property
    def phone(self) -> str | None:
        """The E.164 number, or None while only another kind of id is known."""
        return self.external_id if self.kind is ExternalIdKind.PHONE else None


def identify(source: str, external_id: str, region: str = DEFAULT_REGION) -> CanonicalIdentity:
    """Says whom an external id names: a phone in any usual writing, a JID, a LID, a BSUID, an IGSID or a canonical id.

    `region` (ISO 3166, upper case) completes phones written without a country. Raises InvalidArgument with reason
    SOURCE_INVALID or EXTERNAL_ID_INVALID.
    """
    known_source = parse_source(source)
    found = _find(known_source, external_id, region)
    if found is None:
        raise InvalidArgument("EXTERNAL_ID_INVALID", _advice(known_source))
    return CanonicalIdentity(known_source, found[0], found[1], external_id)


def identify_typed(source: str, external_id: str, region: str = DEFAULT_REGION) -> CanonicalIdentity:
    """As identify, for an id that somebody typed with nothing beside it that says how it is meant.

    Bare digits that are a number of the region and, with a plus before them, another one abroad are refused with reason
    EXTERNAL_ID_AMBIGUOUS: whoever guesses makes strangers of people.
    """
    known_source = parse_source(source)
    meanings = readings(external_id, region) if known_source is Source.WHATSAPP else ()
    if len(meanings) > 1:
        home, abroad = meanings
        raise InvalidArgument(
            "EXTERNAL_ID_AMBIGUOUS",
            f"These digits are whatsapp:{home} in the region {region}, and whatsapp:{abroad} abroad. Write the one that"
            f" is meant with its plus, {home} or {abroad}; or say it in the field phone, which is read in the"
            " organization's region first.",
            home=f"whatsapp:{home}",
            abroad=f"whatsapp:{abroad}",
        )
    return identify(source, external_id, region)


def readings(text: str, region: str) -> tuple[str, ...]:
    """The phones that bare digits can mean, that of the region first; empty for what is more than bare digits.

    An area code in brackets says that the number is written as at home.
    """
    compact = _compact(text.removeprefix("whatsapp:"))
    if "(" in text or not _BARE.fullmatch(compact) or compact.startswith("00"):
        return ()
    return tuple(dict.fromkeys(phone for phone in (_home(compact, region), _abroad(compact)) if phone is not None))


@lru_cache(maxsize=PHONE_CACHE_ENTRIES_MAX)
def lacks_country(text: str) -> bool:
    """Whether a text is a number without its country, which only the region of its organization completes."""
    compact = _compact(text.strip().removeprefix("whatsapp:"))
    return bool(_BARE.fullmatch(compact)) and not compact.startswith("00")


def own_key(text: str) -> str | None:
    """The key of a whole number that is believed though the plan may not know it; None where the text is none.

    For looking up who is known already, and for whom nothing must be sent to: never for making somebody. Digits without
    their plus are read so only where they are no number in the region and none abroad.
    """
    if _SHORTENED_SECOND.search(text):
        return None
    digits = _compact(text.strip().removeprefix("whatsapp:")).removeprefix("+")
    return f"whatsapp:{_own(digits)}" if _OWN_NUMBER.fullmatch(digits) else None


def try_identify(source: Source, external_id: str, region: str = DEFAULT_REGION) -> CanonicalIdentity | None:
    """As identify, but answers None where there is no identity: for parsers, to which that is an ordinary case."""
    found = _find(source, external_id, region)
    return None if found is None else CanonicalIdentity(source, found[0], found[1], external_id)


def canonical_key(source: str, external_id: str, region: str = DEFAULT_REGION) -> str:
    """Answers the key of the person an external id names, or raises InvalidArgument as identify does."""
    return identify(source, external_id, region).key


def parse_source(source: str) -> Source:
    """Reads WHATSAPP or INSTAGRAM in capitals or small letters; anything else raises SOURCE_INVALID."""
    known = _SOURCE_BY_NAME.get(source)
    if known is None:
        raise InvalidArgument("SOURCE_INVALID", "The source must be WHATSAPP or INSTAGRAM.")
    return known


def split_key(key: str) -> tuple[Source, str]:
    """Takes a canonical key apart into source and external id; a text that is no canonical key raises."""
    if not CANONICAL_KEY.fullmatch(key):
        raise InvalidArgument("EXTERNAL_ID_INVALID", "A key reads whatsapp:+<number> or instagram:<id>.")
    name, external_id = key.split(":", 1)
    return _SOURCE_BY_NAME[name], external_id


def normalize_phone(text: str, region: str = DEFAULT_REGION) -> str:
    """Brings a phone into E.164, one text per person: with the Brazilian and Argentine 9, without the Mexican 1.

    Raises InvalidArgument with reason PHONE_INVALID.
    """
    phone = _phone(text, region)
    if phone is None:
        raise InvalidArgument("PHONE_INVALID", "Write the phone with its country, for example +5511900001234.")
    return phone


def try_normalize_phone(text: str, region: str = DEFAULT_REGION) -> str | None:
    """As normalize_phone, but answers None for what is no phone."""
    return _phone(text, region)


def phone_writings(phone: str) -> tuple[str, ...]:
    """The E.164 texts that normalize_phone brings to this phone; itself comes first."""
    matches = ((pattern.fullmatch(phone), between) for pattern, between in _OTHER_WRITINGS)
    others = [f"{match[1]}{between}{match[2]}" for match, between in matches if match is not None]
    return (phone, *(other for other in others if _phone(other, DEFAULT_REGION) == phone))


def is_bsuid(text: str) -> bool:
    """Whether a text has the form of a WhatsApp business-scoped user id."""
    return _bsuid(text) is not None


def _advice(source: Source) -> str:
    if source is Source.WHATSAPP:
        return "Give a phone number with its country (+5511900001234), a WhatsApp id, a LID or a business-scoped id."
    return "Give the Instagram-scoped id of the person: digits only."


def _find(source: Source, external_id: str, region: str) -> tuple[ExternalIdKind, str] | None:
    if not external_id or len(external_id) > EXTERNAL_ID_LENGTH_MAX:
        return None
    text = external_id.strip()
    if source is Source.INSTAGRAM:
        text = text.removeprefix("instagram:")
        return (ExternalIdKind.IGSID, text) if _IGSID.fullmatch(text) else None
    if text.startswith("whatsapp:+") and _OWN_NUMBER.fullmatch(text, 10):
        return ExternalIdKind.PHONE, _own(text[10:])
    return _find_whatsapp(text.removeprefix("whatsapp:"), region)


def _find_whatsapp(text: str, region: str) -> tuple[ExternalIdKind, str] | None:
    if "@" in text:
        return _find_jid(text)
    if not text.startswith("+"):
        if text.startswith("lid:"):
            return (ExternalIdKind.LID, text) if _LID.fullmatch(text, 4) else None
        bsuid = _bsuid(text.removeprefix("bsuid:"))
        if bsuid is not None:
            return (ExternalIdKind.BSUID, f"bsuid:{bsuid}")
    phone = _phone(text, region)
    return None if phone is None else (ExternalIdKind.PHONE, phone)


def _find_jid(text: str) -> tuple[ExternalIdKind, str] | None:
    """Reads a WhatsApp JID without its device and agent suffix. Groups, broadcasts and newsletters are no persons."""
    jid = _JID.fullmatch(text)
    if jid is None:
        return None
    if jid["server"] in _LID_SERVERS:
        return (ExternalIdKind.LID, f"lid:{jid['user']}") if _LID.fullmatch(jid["user"]) else None
    if jid["server"] in _PHONE_SERVERS:
        return (ExternalIdKind.PHONE, _own(jid["user"])) if _OWN_NUMBER.fullmatch(jid["user"]) else None
    return None


@lru_cache(maxsize=PHONE_CACHE_ENTRIES_MAX)
def _own(digits: str) -> str:
    """The one text of a number that WhatsApp itself names: of the plan where that knows it, else as it stands."""
    phone = f"+{digits}"
    return _international(phone) or _variant(phone) or phone


def _bsuid(text: str) -> str | None:
    match = _BSUID.fullmatch(text)
    return None if match is None or match["local"].lower() in _PLACEHOLDERS else text


@lru_cache(maxsize=PHONE_CACHE_ENTRIES_MAX)
def _phone(text: str, region: str) -> str | None:
    if len(text) > EXTERNAL_ID_LENGTH_MAX or _SHORTENED_SECOND.search(text):
        return None
    compact = _compact(text)
    if not _PHONE.fullmatch(compact):
        # Chatwoot anchors its check at the end only, so a good number may have anything in front of its plus, but for
        # another number: of two, nobody can say which is meant.
        trailing = _TRAILING_E164.search(compact)
        if trailing is None or sum(sign.isdigit() for sign in compact[: trailing.start()]) > DIGITS_IN_FRONT_MAX:
            return None
        return _international(trailing[0])
    if compact.startswith("+"):
        return _international(compact)
    if compact.startswith("00"):
        return _international(f"+{compact[2:]}")
    return _home(compact, region) or _abroad(compact)


def _compact(text: str) -> str:
    return _PHONE_DECORATION.sub("", text).removeprefix("tel:")


def _home(digits: str, region: str) -> str | None:
    """Reads bare digits as a number of the region."""
    if region == "BR":
        brazilian = _BR_NATIONAL.fullmatch(digits)
        if brazilian is not None:
            return _brazilian(brazilian)
    parsed = _parse(digits, region) if region in phonenumbers.SUPPORTED_REGIONS else None
    if parsed is None or not phonenumbers.is_valid_number(parsed):
        return None
    with_country = _parse(f"+{digits}", None)
    if with_country is not None and with_country.country_code == parsed.country_code and _mobile(with_country):
        # A German mobile without its plus would also be a landline of a town whose area code begins with 49.
        parsed = parsed if _mobile(parsed) else with_country
    return _international(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))


def _mobile(number: phonenumbers.PhoneNumber) -> bool:
    return bool(phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.MOBILE)


def _abroad(digits: str) -> str | None:
    """Reads bare digits as a number that lacks only its plus: nobody said so, so only one that exists is believed."""
    parsed = _parse(f"+{digits}", None)
    plausible = parsed is not None and (phonenumbers.is_valid_number(parsed) or _variant(f"+{digits}") is not None)
    return _international(f"+{digits}") if plausible else None


def _international(text: str) -> str | None:
    brazilian = _BR_INTERNATIONAL.fullmatch(text)
    if brazilian is not None:
        return _brazilian(brazilian)
    text = _variant(text) or text
    parsed = _parse(text, None)
    if parsed is None:
        return None
    e164: str = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    if not _E164.fullmatch(e164) or not _believed(parsed, e164):
        return None
    # phonenumbers may drop a trunk prefix inside the number. The answer must be one that answers itself again.
    return e164 if e164 == text else _international(e164) if len(e164) < len(text) else None


def _believed(parsed: phonenumbers.PhoneNumber, e164: str) -> bool:
    if phonenumbers.is_valid_number(parsed):
        return True
    # The list of number ranges is always a little older than the numbers people have; Brazil's plan is known here.
    if parsed.country_code == 55 or len(e164) > POSSIBLE_PHONE_DIGITS_MAX + 1:
        return False
    reason = phonenumbers.is_possible_number_with_reason(parsed)
    return bool(reason == phonenumbers.ValidationResult.IS_POSSIBLE)


def _brazilian(match: re.Match[str]) -> str:
    subscriber = match["mobile"] or match["landline"] or f"9{match['old_mobile']}"
    return f"+55{match['area']}{subscriber}"


def _variant(text: str) -> str | None:
    """Rewrites Mexican and Argentine numbers to the one form of the key, or answers None where nothing changes."""
    mexican = _MX_OLD_MOBILE.fullmatch(text)
    if mexican is not None:
        return f"+52{mexican[1]}"
    argentine = _AR_WITHOUT_NINE.fullmatch(text)
    return None if argentine is None else f"+549{argentine[1]}"


def _parse(text: str, region: str | None) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
