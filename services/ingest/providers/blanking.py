"""Taking secrets out of a raw body before it is stored, without changing any other byte: fields by name, users in URLs.

The raw body is kept for replay, so everything but the values of secret fields must stay as it came. The scan reads
bytes, not objects: it also works on bodies that are broken, and a normal body costs a few microseconds.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from chassis.json_reading import JsonMalformed, as_utf8, is_json, read_json

BLANK = b'"[blanked]"'
_BLANK_IN_TEXT = b"[blanked]"


@dataclass(frozen=True, slots=True)
class SecretFields:
    """Which fields of a provider are secret: those whose name ends so, in capitals or small letters."""

    endings: tuple[bytes, ...]
    # Every ending, in small letters, holds one of these. The search is the quicker the longer and the fewer they are,
    # and looks for their last byte first: none is a quote, of which every body is full.
    needles: tuple[bytes, ...]


# `pubsub_token` stands in every conversation; an inbox event lists every column of its channel, credentials and all.
CHATWOOT_SECRETS = SecretFields(
    endings=(
        b"token",  # pubsub_token, hmac_token, access_token, api_access_token, auth_token, bot_token, accessToken …
        b"secret",
        b"password",  # smtp_password, imap_password
        *(b"passwd", b"passphrase"),
        # Of whole names and the last words of names: what only ends so may be anything, such as "bypass".
        *(before + word for word in (b"pass", b"auth") for before in (b'"', b"_", b"-")),
        *(
            kind + separator + b"key"
            for kind in (b"api", b"private", b"access", b"secret", b"signing", b"encryption", b"auth", b"jwt")
            for separator in (b"", b"_", b"-")
        ),
        *(b"authorization", b"jwt", b"credential", b"credentials", b"cookie"),
        *(b"provider_config", b"provider_connection"),
        *(b"secrets", b"passwords", b"api_keys", b"apikeys", b"access_tokens", b"auth_tokens", b"cookies"),
    ),
    needles=(
        *(b"token", b"secret", b"key", b"provider_con"),
        *(b"auth", b"jwt", b"credential", b"cookie", b"pass"),
    ),
)
# `apikey` stands in every event, and app state events carry the key material of the account itself.
EVOLUTION_SECRETS = SecretFields(
    endings=(*CHATWOOT_SECRETS.endings, b"keydata", b"keyshare", b"keydistributionmessage"),
    needles=CHATWOOT_SECRETS.needles,  # they hold "key"
)

_COLON = re.compile(rb"\s*+:\s*+")
# Each pattern takes a string to its end, closed or not: failing there, it would begin again at every quote inside.
_STRING_TOKEN = rb'"(?:[^"\\]++|\\.)*+\\?+(?:"|\Z)'
_STRING = re.compile(_STRING_TOKEN, re.DOTALL)
_STRING_OR_KEY = re.compile(rb"(" + _STRING_TOKEN + rb")(\s*+:\s*+)?+", re.DOTALL)
_ESCAPE_IN_STRING = re.compile(rb'\\u00(?:[^"\\]++|\\.)*+\\?+(?:"(\s*+:)?+|\Z)', re.DOTALL)
_SCALAR = re.compile(rb"[^\s,\]}]++")
_BRACKET_OR_STRING = re.compile(_STRING_TOKEN + rb"|[\[\]{}]", re.DOTALL)
_LOOSE_VALUE = re.compile(rb"""['"\\]*+\s*+[=:]\s*+("(?:[^"\\]++|\\.)*+"?|\\*+'[^']*+'?|[^\s&,;}]++)""", re.DOTALL)
_SLASHES = (b"//", rb":\/\/")
_USERINFO_LENGTH_MAX = 512
_AUTHORITY_LENGTH_MAX = 6 * _USERINFO_LENGTH_MAX + 6
"""Each of its signs may be spelled as an escape."""
# A password may hold an at sign itself, and JSON may spell it as an escape.
_USERINFO = re.compile(rb"((?:[^\s\"\\/?#<>]|\\u00[0-9a-fA-F]{2}){1,%d})(?=@|\\u0040)" % _USERINFO_LENGTH_MAX)
_PAIR = re.compile(
    rb'"(?:name|key|header|field|title|label)"\s*+:\s*+"([^"\\]{1,100}+)"\s*+,\s*+"value"\s*+:\s*+', re.IGNORECASE
)
_PARAMETERS = (b"token", b"key", b"secret", b"password", b"passwd", b"pwd", b"credential")
_PARAMETER = re.compile(
    rb"(?:[?&;]|\\u0026)[\w.-]{0,40}(?:token|secret|password|passwd|pwd|credential"
    rb"|(?:api|access|private|secret|auth|signing)[_-]?key)=([^\s\"\\&;#<>\[\]]++)",
    re.IGNORECASE,
)
# A token of a program has digits; a word of people has none, and is rarely so long.
_BEARER = re.compile(rb"\bbearer\s++((?=[A-Za-z._~+/=-]{0,200}[0-9])[A-Za-z0-9._~+/=-]{16,})", re.IGNORECASE)
_FIELD_IN_TEXT = re.compile(
    rb"\\\"[\w.-]{0,40}(?:token|secret|password|passwd|pwd|credential|authorization|jwt|cookie"
    rb"|(?:api|access|private|secret|auth|signing)[_-]?key)\\\"\s*+:\s*+\\\"([^\"\\]++)",
    re.IGNORECASE,
)
_CLEAN_VALUES = frozenset({b"null", b'""', BLANK})


def blank_secrets(body: bytes, fields: SecretFields = CHATWOOT_SECRETS, *, readable: bool | None = None) -> bytes:
    """Answers the body with the value of every secret field replaced; the same object when there is none.

    Never raises. An escaped spelling of a name ("pubsub\\u005ftoken") counts as the name. `readable` says whether the
    body is JSON, where the caller knows; a body that is none is blanked coarsely, to the end of a doubtful value.
    """
    body = as_utf8(body)
    starts = sorted(_values_by_name(body, fields))
    escaped = b"\\" in body  # found much sooner than what follows it
    if escaped and b"\\u00" in body and any(escape[1] for escape in _ESCAPE_IN_STRING.finditer(body)):
        starts = list(_values_by_any_spelling(body, fields))
    if b'"value"' in body:
        starts = sorted({*starts, *_values_of_pairs(body, fields)})
    blanked = _blank_in_texts(_blank_users(_replace(body, starts) if starts else body))
    if readable is None:
        readable = is_json(body)
    return blanked if readable else _blank_loosely(blanked)


def _blank_users(body: bytes) -> bytes:
    """Takes out who signs in by a URL: "https://user:password@host/"."""
    escaped = b"\\" in body
    if b"@" not in body and not (escaped and b"\\u0040" in body):
        return body
    spans = []
    for slashes in _SLASHES if escaped else _SLASHES[:1]:
        found = body.find(slashes)
        while found >= 0:
            start = found + len(slashes)
            user = _USERINFO.match(body, start) if _may_name_user(body, start) else None
            # Behind two slashes alone, which stand in ordinary texts too, a user is meant where a password follows.
            if user is not None and (slashes != b"//" or body[found - 1 : found] == b":" or b":" in user[1]):
                spans.append(user.span(1))
            found = body.find(slashes, start)
    return _put(body, sorted(set(spans)), _BLANK_IN_TEXT)


def _may_name_user(body: bytes, start: int) -> bool:
    """Whether an at sign stands before whatever ends a host: quicker than the expression, which nearly none fits."""
    slash, quote = (
        body.find(b"/", start, start + _AUTHORITY_LENGTH_MAX),
        body.find(b'"', start, start + _AUTHORITY_LENGTH_MAX),
    )
    ends = [end for end in (slash, quote) if end >= 0]
    authority = body[start : min(ends) if ends else start + _AUTHORITY_LENGTH_MAX]
    return b"@" in authority or b"\\u0040" in authority


def _blank_in_texts(body: bytes) -> bytes:
    """Takes out what a text says as programs do: parameters of a URL, a bearer's token, fields of JSON in a text."""
    spans: list[tuple[int, int]] = []
    # Looked for by what is rare: every body is full of such names, few have an equals sign.
    equals = body.find(b"=")
    while equals >= 0:
        if body[max(0, equals - 10) : equals].lower().endswith(_PARAMETERS):
            spans += (found.span(1) for found in _PARAMETER.finditer(body))
            break
        equals = body.find(b"=", equals + 1)
    if b"earer " in body:
        spans += (found.span(1) for found in _BEARER.finditer(body))
    if b"\\" in body and b'\\"' in body:
        spans += (found.span(1) for found in _FIELD_IN_TEXT.finditer(body))
    return _put(body, sorted(spans), _BLANK_IN_TEXT) if spans else body


def _values_of_pairs(body: bytes, fields: SecretFields) -> Iterator[int]:
    """Yields where the value begins of each pair such as {"name": "api_key", "value": "…"}."""
    for pair in _PAIR.finditer(body):
        if (b'"' + pair[1].lower()).endswith(fields.endings):
            yield pair.end()


def _blank_loosely(body: bytes) -> bytes:
    """Takes out whatever stands behind the name of a secret field in a body that is no JSON."""
    small = body.lower()
    # Names are looked for one by one: an expression for all of them would try each of them at every byte, and nothing
    # else would run meanwhile.
    ends = []
    for ending in EVOLUTION_SECRETS.endings:
        found = small.find(ending)
        while found >= 0:
            ends.append(found + len(ending))
            found = small.find(ending, found + len(ending))
    spans: list[tuple[int, int]] = []
    done = 0
    for end in sorted(ends):
        value = _LOOSE_VALUE.match(body, end) if end >= done else None
        if value is not None:
            spans.append(value.span(1))
            done = value.end()
    return _put(body, spans, BLANK)


def _put(body: bytes, spans: Iterable[tuple[int, int]], blank: bytes) -> bytes:
    parts: list[bytes] = []
    done = 0
    for start, end in spans:
        if start >= done:
            parts += (body[done:start], blank)
            done = end
    return b"".join((*parts, body[done:])) if parts else body


def _values_by_name(body: bytes, fields: SecretFields) -> Iterator[int]:
    """Yields where the value of each secret field begins, in no order."""
    # Small letters take as many bytes as capitals: what is found in one stands at the same place in the other.
    small = body.lower()
    for needle in fields.needles:
        found = small.find(needle)
        while found >= 0:
            end = body.find(b'"', found + 1)
            if end < 0:
                break
            colon = _COLON.match(body, end + 1)
            # With the quote before it, by which a whole name is known.
            if colon is not None and small[body.rfind(b'"', 0, found) : end].endswith(fields.endings):
                yield colon.end()
            # Behind the quote: a text may hold the needle very often, and its end is not to be looked for each time.
            found = small.find(needle, end + 1)


def _values_by_any_spelling(body: bytes, fields: SecretFields) -> Iterator[int]:
    """As _values_by_name, in order, reading every key: escapes hide in keys only when somebody means it."""
    for field in _STRING_OR_KEY.finditer(body):
        if field[2] is None:
            continue
        try:
            name = b'"' + read_json(field[1]).encode()
        except JsonMalformed:
            name = field[1].rstrip(b'"')
        if name.lower().endswith(fields.endings):
            yield field.end()


def _replace(body: bytes, starts: Iterable[int]) -> bytes:
    parts: list[bytes] = []
    done = 0
    for start in starts:
        if start < done:  # inside an object that is gone already
            continue
        end = _end_of_value(body, start)
        if body[start:end] not in _CLEAN_VALUES:
            parts += (body[done:start], BLANK)
            done = end
    return b"".join((*parts, body[done:])) if parts else body


def _end_of_value(body: bytes, start: int) -> int:
    """Answers where the JSON value that begins at `start` ends; the end of the body if it never does."""
    first = body[start : start + 1]
    if first == b'"':
        string = _STRING.match(body, start)
        assert string is not None, "a quote always begins a string"
        return string.end()
    if first not in (b"{", b"["):
        scalar = _SCALAR.match(body, start)
        return start if scalar is None else scalar.end()
    depth = 0
    for token in _BRACKET_OR_STRING.finditer(body, start):
        if token[0] in (b"{", b"["):
            depth += 1
        elif token[0] in (b"}", b"]"):
            depth -= 1
            if depth == 0:
                return token.end()
    return len(body)
