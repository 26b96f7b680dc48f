"""What a command prints: tables and sentences for people, or with `--json` one JSON document for programs."""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.cells import cell_len

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

Row = Mapping[str, Any]

COLUMNS_DEFAULT = 80
"""How wide a table may be where nothing says how wide the terminal is."""
INDENT = "    "
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What would move the cursor, colour the terminal or turn its writing round; tabs and ends of lines stay."""


def print_json(content: object) -> None:
    """Writes one JSON document on one line; where the output has no Unicode, its characters are escaped."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("_", "-")
    text = json.dumps(content, ensure_ascii=encoding not in ("utf-8", "utf8"), default=str)
    # A lone surrogate, such as of a name that was typed in another encoding, is in no encoding at all.
    sys.stdout.write(text.encode("utf-8", "replace").decode() + "\n")
    sys.stdout.flush()


def print_line(text: str = "") -> None:
    """Writes one line for people."""
    sys.stdout.write(shown(text) + "\n")
    sys.stdout.flush()


def print_note(text: str) -> None:
    """Writes one line for people on standard error, beside a result that goes elsewhere."""
    sys.stderr.write(shown(text) + "\n")
    sys.stderr.flush()


def print_progress(text: str) -> None:
    """How far a long command is, on standard error: one line that is written anew in a terminal, one each elsewhere."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{shown(text)}\033[K")
        sys.stderr.flush()
    else:
        print_note(text)


def end_progress() -> None:
    """What comes next begins a line of its own."""
    if sys.stderr.isatty():
        print_note("")


def shown(text: str) -> str:
    """The text as a terminal may have it: names are written by strangers, and commands to the terminal are no name."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def print_error(reason: str, message: str, *, as_json: bool) -> None:
    """Says why the command failed: on standard error, with JSON on standard output, where programs read."""
    if as_json:
        print_json({"error": {"reason": reason, "message": message}})
    else:
        print_note(f"Error: {message}")


def print_rows(
    rows: Sequence[Row],
    columns: Sequence[str],
    *,
    title: str = "",
    empty: str = "Nothing found.",
    width: int | None = None,
) -> None:
    """Prints rows as a table whose cells are never cut, or a sentence when there are none.

    Where the table is wider than the terminal, the last columns of each row stand on further lines below its first.
    """
    if title:
        print_line(title)
    if not rows:
        print_line(empty)
        return
    cells = [[_text(row.get(column)) for column in columns] for row in map(for_people, rows)]
    widths = [max(cell_len(column), *(cell_len(line[index]) for line in cells)) for index, column in enumerate(columns)]
    limit = width or shutil.get_terminal_size((COLUMNS_DEFAULT, 0)).columns
    parts = _parts(widths, limit)
    for line in _lines(columns, widths, parts, limit):
        print_line(line)
    print_line("-" * min(limit, max(_width(widths[part]) + len(indent) for part, indent in parts)))
    for row in cells:
        for line in _lines(row, widths, parts, limit):
            print_line(line)


def answer(content: object, lines: Iterable[str], *, as_json: bool) -> None:
    """Prints the content as JSON, or the lines."""
    if as_json:
        print_json(content)
        return
    for line in lines:
        print_line(line)


def number_of(count: int, noun: str) -> str:
    """A count with its noun: "1 event", "2 events"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def local_time(moment: datetime) -> str:
    """A time as people read it, in UTC to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def said_time(text: str) -> str:
    """A time of an answer as people read it; what is no time stays as it is."""
    try:
        return local_time(datetime.fromisoformat(text))
    except ValueError:
        return text


def for_people(row: Row) -> dict[str, Any]:
    """A row with its times as people read them, for lines and tables; programs get the whole of them."""
    return {
        name: said_time(value) if isinstance(value, str) and name.endswith("_time") else value
        for name, value in row.items()
    }


def print_fields(row: Row) -> None:
    """Prints a row's filled fields, one below the other; what is longer than the terminal goes on between words."""
    limit = shutil.get_terminal_size((COLUMNS_DEFAULT, 0)).columns
    filled = {name: _text(value) for name, value in for_people(row).items() if value is not None}
    name_width = max((len(name) for name in filled), default=0) + 2
    for name, text in filled.items():
        for line in textwrap.wrap(
            text,
            limit,
            initial_indent=name.ljust(name_width),
            subsequent_indent=" " * name_width,
            break_long_words=False,
            break_on_hyphens=False,
        ):
            print_line(line)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return local_time(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return shown(" ".join(str(value).split("\n")))


def _width(widths: Sequence[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def _parts(widths: Sequence[int], limit: int) -> list[tuple[slice, str]]:
    """Which columns stand together on a line, and what that line begins with."""
    found = []
    begin = 0
    while begin < len(widths):
        indent = INDENT if begin else ""
        end = begin + 1
        while end < len(widths) and len(indent) + _width(widths[begin : end + 1]) <= limit:
            end += 1
        found.append((slice(begin, end), indent))
        begin = end
    return found


def _lines(
    cells: Sequence[str], widths: Sequence[int], parts: Sequence[tuple[slice, str]], limit: int
) -> Iterable[str]:
    """One row; a line of which nothing is filled is left out, and one longer than the terminal breaks between words."""
    for number, (part, indent) in enumerate(parts):
        line = "  ".join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(cells[part], widths[part], strict=True)
        ).rstrip()
        if number and not line:
            continue
        if len(indent + line) <= limit:
            yield indent + line
        else:
            yield from textwrap.wrap(
                line,
                limit,
                initial_indent=indent,
                subsequent_indent=INDENT,
                break_long_words=False,
                break_on_hyphens=False,
            )
