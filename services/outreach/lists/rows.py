"""What a row of a file says, and what is wrong with it as far as its form goes. No I/O."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import orjson

from chassis import canonical
from chassis.canonical import Source
from chassis.errors import InvalidArgument
from services.outreach.lists.csv_reading import Record
from services.outreach.lists.domain import Columns, RowError
from services.outreach.lists.limits import VALUE_SHOWN_MAX

# Without marks, in small letters, blanks for dashes.
_USUAL = {
    "name": ("nome", "name", "nome completo", "full name", "cliente", "contato"),
    "phone": ("telefone", "phone", "celular", "whatsapp", "fone", "mobile", "numero", "phone number", "tel"),
    "email": ("email", "e mail", "mail", "correio"),
    "external_id": ("external id", "id externo", "igsid"),
    "tags": ("tags", "etiquetas", "marcadores"),
}
_STEERING = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
NAME_LENGTH_MAX, EMAIL_LENGTH_MAX = 1024, 320


@dataclass(frozen=True, slots=True)
class Row:
    """One person, as a row names them."""

    line: int
    external_id: str
    """In its canonical form."""
    name: str
    phone: str
    email: str


def find_columns(header: Sequence[str], wanted: Columns) -> Columns:
    """The columns that hold what is wanted, or by their usual names. Raises InvalidArgument COLUMNS_INVALID."""
    by_name: dict[str, str] = {}
    for title in header:
        by_name.setdefault(_folded(title), title)
    if wanted == Columns():
        found = {
            field: next((by_name[name] for name in names if name in by_name), "") for field, names in _USUAL.items()
        }
    else:
        found = {}
        for field, title in asdict(wanted).items():
            if title and _folded(title) not in by_name:
                raise _columns_invalid(f"The file has no column {title!r}.", header)
            found[field] = by_name[_folded(title)] if title else ""
    columns = Columns(**found)
    if not columns.phone and not columns.external_id:
        raise _columns_invalid(
            "No column names anybody: one with the phone, or with the external id, is needed.", header
        )
    return columns


def places_of(header: Sequence[str], columns: Columns) -> Mapping[str, int]:
    """Which place in a row holds what."""
    titles = list(header)
    return {
        field.name: titles.index(title) for field in fields(columns) if (title := getattr(columns, field.name)) != ""
    }


def read_row(
    record: Record, header: Sequence[str], places: Mapping[str, int], source: Source, region: str
) -> Row | RowError:
    """The person of a row, or why it names none."""
    if record.values is None:
        return _error(record, "", record.text, "ROW_MALFORMED", record.explanation)
    values = record.values
    if any(value.strip() for value in values[len(header) :]):
        explanation = f"It has {len(values)} values for {len(header)} columns."
        return _error(record, "", record.text, "ROW_MALFORMED", explanation)
    said = {name: " ".join(values[place].split()) if place < len(values) else "" for name, place in places.items()}

    def fault(name: str, reason: str, message: str) -> RowError:
        return _error(record, header[places[name]], said[name], reason, message)

    phone, email = said.get("phone", ""), said.get("email", "").lower()
    number = ""
    if phone:
        try:
            # Read at home first, as every field for phones is.
            number = canonical.normalize_phone(phone, region)
        except InvalidArgument as error:
            return fault("phone", error.reason, error.message)
    if email and not _is_email(email):
        return fault("email", "EMAIL_INVALID", "Write the e-mail like maria@example.com, or leave it out.")
    if len(said.get("name", "")) > NAME_LENGTH_MAX:
        return fault("name", "ROW_MALFORMED", f"A name has at most {NAME_LENGTH_MAX} letters.")
    if (sign := _hidden(said.get("name", ""))) is not None:
        message = f"The name holds U+{ord(sign):04X}, which nobody sees and which changes what is read. Write it anew."
        return fault("name", "ROW_MALFORMED", message)
    named = said.get("external_id", "")
    if named:
        try:
            external_id = canonical.identify_typed(source, named, region).external_id
        except InvalidArgument as error:
            reason = "IDENTITY_AMBIGUOUS" if error.reason == "EXTERNAL_ID_AMBIGUOUS" else "IDENTITY_MISSING"
            return fault("external_id", reason, error.message)
    elif number and source is Source.WHATSAPP:
        external_id = number
    else:
        at = places.get("phone" if source is Source.WHATSAPP else "external_id")
        column = header[at] if at is not None else ""
        message = (
            "It names nobody: fill in the phone" if source is Source.WHATSAPP else "It names nobody: fill in the id"
        )
        return _error(record, column, "", "IDENTITY_MISSING", f"{message}, or leave the row out.")
    return Row(record.line, external_id, said.get("name", ""), number, email)


def _hidden(name: str) -> str | None:
    """The first sign that steers how a text is shown: control characters, and those that turn its direction around.

    Joiners stay: they stand in emoji and in the names of many languages.
    """
    return next((sign for sign in name if unicodedata.category(sign) in _STEERING or sign in _TURNING), None)


def _is_email(email: str) -> bool:
    name, at, host = email.rpartition("@")
    return bool(at and name) and "." in host and " " not in email and len(email) <= EMAIL_LENGTH_MAX


def _folded(title: str) -> str:
    plain = "".join(sign for sign in unicodedata.normalize("NFKD", title) if not unicodedata.combining(sign))
    return " ".join(plain.casefold().replace("-", " ").replace("_", " ").split())


def _error(record: Record, column: str, value: str, reason: str, message: str) -> RowError:
    shown = "".join("\ufffd" if _hidden(sign) is not None else sign for sign in value[:VALUE_SHOWN_MAX])
    return RowError(record.line, column, shown, reason, message)


def _columns_invalid(message: str, header: Sequence[str]) -> InvalidArgument:
    return InvalidArgument("COLUMNS_INVALID", message, columns=orjson.dumps(list(header)).decode())
