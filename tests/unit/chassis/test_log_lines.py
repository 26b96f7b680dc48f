"""Log lines: what cannot be written is lost, and nothing else with it."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
import structlog

from chassis import telemetry


class _Broken(io.StringIO):
    """A stream that takes nothing: its disk is full, its reader gone, or it cannot spell the text."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, _text: str) -> int:
        raise self.error


@pytest.fixture
def quiet() -> Iterator[None]:
    """Puts back how the tests log."""
    yield
    telemetry.configure_logging("error", stream=io.StringIO())


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        BrokenPipeError(),
        ValueError("I/O operation on closed file"),
        UnicodeEncodeError("ascii", "ã", 0, 1, "ordinal not in range"),
    ],
)
def test_a_line_that_cannot_be_written_does_not_fail_the_work_it_tells_of(error: Exception) -> None:
    telemetry.configure_logging("info", stream=_Broken(error))
    structlog.get_logger("test").info("webhooks_stored")
