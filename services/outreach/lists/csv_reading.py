"""Reads CSV as spreadsheets write it, a window of bytes at a time, and says where the next row begins.

A row that is none is the fault of its own line: what follows is read on from the next one.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass

from chassis.errors import InvalidArgument
from services.outreach.lists.limits import COLUMNS_MAX, RECORD_LENGTH_MAX, RECORD_LINES_MAX

_UTF_8, _WINDOWS = "utf-8", "windows-1252"
_MARKS = ((b"\xef\xbb\xbf", _UTF_8), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_DELIMITERS = ",;\t"
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r|\Z)")
_UNREAD = re.compile("[\ud800-\udfff]")
"""What stands for bytes that are nothing in the file's encoding."""
_LETTER = re.compile("[^\x00-\x7f\ud800-\udfff]")
"""What takes several bytes in UTF-8."""
_CUT = re.compile("[\udc80-\udcff]{1,3}\\Z")
"""A letter of UTF-8 that goes on in what follows."""
_NUL = "\x00"
_SHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""How .xlsx and .xls begin."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a file is written."""

    encoding: str
    delimiter: str
    header: tuple[str, ...]
    rows_from: int
    """Where the first row after the names begins, in bytes."""
    line: int
    """The number of its line."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row, or what should have been one."""

    line: int
    values: tuple[str, ...] | None
    """None where it is none."""
    text: str
    """Its first line as it stands in the file, without what no text may hold: it is kept, sent and shown."""
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """Rows, and where in the file the one after them begins."""

    records: Sequence[Record]
    position: int
    line: int


def detect(start: bytes, *, whole: bool) -> Form:
    """How a file that begins so is written; ``whole`` where that is all of it.

    Raises InvalidArgument FILE_UNREADABLE.
    """
    encoding, mark = _encoding(start, whole=whole)
    text = _decode(start[mark:], encoding)
    if _NUL in text:
        raise unreadable("It holds bytes that no text has.")
    first = _LINE.match(text)
    assert first is not None, "the pattern matches anything"
    names = first[0].rstrip("\r\n")
    if not names.strip():
        raise unreadable("Its first line has no names of columns.")
    delimiter = max(_DELIMITERS, key=lambda sign: _outside(names, sign))
    window = read_rows(start[mark:], encoding, delimiter, position=mark, line=1, count=1, whole=whole)
    if not window.records or window.records[0].values is None:
        raise unreadable("Its first line is no row of names.")
    header = tuple(value.strip() for value in window.records[0].values)
    if len(header) > COLUMNS_MAX:
        raise unreadable(f"It has more than {COLUMNS_MAX} columns.")
    return Form(encoding, delimiter, header, window.position, window.line)


def read_rows(
    data: bytes, encoding: str, delimiter: str, *, position: int, line: int, count: int, whole: bool
) -> Window:
    """At most so many rows of what begins at ``position`` with line number ``line``.

    ``whole`` where nothing follows the data. Else a row that might go on behind it is left for the next window. The
    position stays where the data holds no whole line.
    """
    lines, end = _lines(_decode(data, encoding), whole=whole), position + len(data)
    records: list[Record] = []
    place = 0
    while place < len(lines) and len(records) < count:
        record, taken, cut = _record(lines, place, delimiter, line)
        if cut and not whole:
            # Its end may be in what follows: the next window begins here.
            break
        if record is not None:
            records.append(record)
        for text in lines[place : place + taken]:
            position += len(_encode(text, encoding))
        line += taken
        place += taken
    if whole and place == len(lines):
        # Half a letter of UTF-16 at the very end is nothing, and nothing follows that it could be read with.
        position = end
    return Window(records, position, line)


def _record(lines: Sequence[str], place: int, delimiter: str, line: int) -> tuple[Record | None, int, bool]:
    """A row (None for an empty line), how many lines it takes, and whether the data may have ended within it."""
    block, at_end = _block(lines, place)
    text = _UNREAD.sub("?", block[0].rstrip("\r\n")).replace(_NUL, "")
    if not block[0].strip():
        return None, 1, False
    reader = csv.reader(iter(block), delimiter=delimiter, strict=True)
    try:
        values = next(reader)
    except csv.Error:
        explanation = (
            "A quotation mark is not closed, or stands where none may. Put the whole value into quotation marks."
        )
        return Record(line, None, text, explanation), 1, at_end
    taken = reader.line_num
    written = "".join(block[:taken])
    if _UNREAD.search(written):
        return Record(line, None, text, "It is not written as the rest of the file is."), taken, False
    if len(written) > RECORD_LENGTH_MAX:
        return Record(line, None, text, "It is too long."), taken, False
    if _NUL in written:
        return Record(line, None, text, "It holds signs that no text has."), taken, False
    return Record(line, tuple(values), text), taken, False


def _block(lines: Sequence[str], place: int) -> tuple[list[str], bool]:
    """As many lines as a row may take, and whether there are fewer of them because the data ends."""
    block: list[str] = []
    size = 0
    for text in lines[place : place + RECORD_LINES_MAX]:
        block.append(text)
        size += len(text)
        if size > RECORD_LENGTH_MAX:
            return block, False
    return block, len(block) < RECORD_LINES_MAX


def _lines(text: str, *, whole: bool) -> list[str]:
    lines = [found for found in _LINE.findall(text) if found]
    # A last line without its end may go on; a CR at the very end may be half of one.
    if lines and not whole and (not lines[-1].endswith(("\n", "\r")) or lines[-1].endswith("\r")):
        lines.pop()
    return lines


def _encoding(start: bytes, *, whole: bool) -> tuple[str, int]:
    if start.startswith(_SHEETS):
        raise unreadable("It is a spreadsheet: save it as CSV.")
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding, len(mark)
    text = start.decode(_UTF_8, "surrogateescape")
    if not whole:
        text = _CUT.sub("", text)
    # Letters of UTF-8 take several bytes that fit together, which those of another encoding hardly ever do. Where they
    # are more than the bytes that fit nothing, the file is in UTF-8, and the rows with those bytes alone are at fault.
    letters = len(_LETTER.findall(text))
    strays = len(_UNREAD.findall(text))
    return (_UTF_8 if letters > strays or not strays else _WINDOWS), 0


def _decode(data: bytes, encoding: str) -> str:
    """The text; what is nothing in the encoding stays as long as it stands in the file."""
    if encoding.startswith("utf-16"):
        return data.decode(encoding, "surrogatepass") if len(data) % 2 == 0 else _decode(data[:-1], encoding)
    return data.decode(encoding, "surrogateescape")


def _encode(text: str, encoding: str) -> bytes:
    return text.encode(encoding, "surrogatepass" if encoding.startswith("utf-16") else "surrogateescape")


def _outside(line: str, sign: str) -> int:
    """How often a sign stands outside of quotation marks."""
    return sum(part.count(sign) for part in line.split('"')[::2])


def unreadable(why: str) -> InvalidArgument:
    """The refusal of a file."""
    return InvalidArgument("FILE_UNREADABLE", f"The file cannot be read as CSV. {why}")
