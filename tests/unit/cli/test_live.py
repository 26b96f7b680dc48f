"""The demo's table at the widths of real terminals: the text of a message stays, columns go."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from cli.demo.live import LiveTable, Picture, Seen

URL = "http://127.0.0.1:8137"
LAST = "Oi! Tem vaga para o curso?"
WHO = "Maria Aparecida"


def picture(count: int = 20) -> Picture:
    """So many conversations, of both channels."""
    found = Picture(message_count=count)
    for number in range(count):
        key = f"whatsapp:+55119000048{number:02d}" if number % 2 else f"instagram:178414000000000{number:02d}"
        found.conversations[str(number)] = Seen(
            key,
            message_count=3,
            last=LAST,
            who=WHO,
            deal_id="0193aaaa-bbbb-7ccc-8ddd-eeeeffff0000",
            time=datetime(2026, 5, 13, 12, 34, 56, tzinfo=UTC),
        )
    return found


def drawn(width: int, height: int, encoding: str = "utf-8") -> list[str]:
    """The lines on a terminal of this size."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
    console = Console(file=file, force_terminal=True, color_system=None, width=width, height=height)
    console.print(LiveTable(picture(), URL))
    file.flush()
    return file.buffer.getvalue().decode(encoding).splitlines()


@pytest.mark.case("O7")
@pytest.mark.parametrize("width", [60, 72, 80, 100, 120, 200])
def test_the_last_message_is_read_whole_and_columns_go_instead(width: int) -> None:
    lines = drawn(width, 24)
    assert max(map(len, lines)) <= width
    assert sum(LAST[:24] in line for line in lines) >= 10
    if width >= 80:
        rows = [line for line in lines if LAST[:24] in line]
        assert all("│12:34:56 │" in line for line in rows)
    if width >= 120:
        assert "answered by" in lines[1]
        assert LAST in "".join(lines)


@pytest.mark.case("O7")
@pytest.mark.parametrize("height", [10, 24, 60])
def test_the_footer_keeps_the_address_on_the_screen(height: int) -> None:
    lines = drawn(80, height)
    assert len(lines) < height
    assert lines[-1].startswith(f"{URL}   Ctrl-C")
    assert "20 conversations, 20 messages" in lines[-2]


@pytest.mark.case("F16")
def test_a_terminal_without_unicode_gets_the_table_too() -> None:
    assert any(LAST[:24] in line for line in drawn(80, 24, "ascii"))
