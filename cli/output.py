"""What a command prints: tables and sentences for people, or with `--json` one JSON document for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

Row = Mapping[str, Any]


def print_json(content: object) -> None:
    """Writes one JSON document on one line."""
    sys.stdout.write(json.dumps(content, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def print_line(text: str = "") -> None:
    """Writes one line for people."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_note(text: str) -> None:
    """Writes one line for people on standard error, beside a result that goes elsewhere."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def print_error(reason: str, message: str, *, as_json: bool) -> None:
    """Says why the command failed: on standard error, with JSON on standard output, where programs read."""
    if as_json:
        print_json({"error": {"reason": reason, "message": message}})
    else:
        print_note(f"Error: {message}")


def print_rows(rows: Sequence[Row], columns: Sequence[str], *, title: str = "", empty: str = "Nothing found.") -> None:
    """Prints rows as a table whose cells are never cut, or a sentence when there are none."""
    if title:
        print_line(title)
    if not rows:
        print_line(empty)
        return
    cells = [[_text(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[index]) for line in cells)) for index, column in enumerate(columns)]
    print_line(_line(columns, widths))
    print_line(_line(["-" * width for width in widths], widths))
    for line in cells:
        print_line(_line(line, widths))


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
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return local_time(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
