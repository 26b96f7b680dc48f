"""Times as providers, their forks and flows in between write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.providers.fields import epoch, instant

pytestmark = pytest.mark.case("F22")

TEN = datetime(2026, 11, 28, 10, tzinfo=UTC)
SECONDS = 1_795_860_000


@pytest.mark.parametrize(
    "written",
    [
        *("2026-11-28T10:00:00Z", "2026-11-28T10:00:00.000Z", "2026-11-28 10:00:00 UTC", "2026-11-28 10:00:00.000 UTC"),
        *(
            "2026-11-28 10:00:00 +0000",
            "2026-11-28 07:00:00 -0300",
            "2026-11-28 07:00:00 -03:00",
            "2026-11-28 10:00:00",
        ),
        *("2026-11-28T07:00:00-03:00", "2026-11-28 10:00:00 GMT", "20261128T100000Z", " 2026-11-28T10:00:00Z\n"),
        *("Sat, 28 Nov 2026 10:00:00 GMT", "Sat, 28 Nov 2026 07:00:00 -0300", "28 Nov 2026 10:00:00 +0000"),
        "Sat Nov 28 2026 07:00:00 GMT-0300 (Horário Padrão de Brasília)",
        *(SECONDS, float(SECONDS), str(SECONDS), f"{SECONDS}.0", SECONDS * 1_000, f"{SECONDS}000"),
        *(SECONDS * 1_000_000, f"{SECONDS}000000", SECONDS * 10**9, f"{SECONDS}000000000"),
    ],
)
def test_a_time_is_the_one_that_was_written(written: Any) -> None:
    assert instant(written) == TEN
    assert epoch(written) == SECONDS


@pytest.mark.parametrize(
    "written",
    [
        *(None, "", 0, "0", False, True, -SECONDS, [], {}, "yesterday", "10:00", "2026", float("nan"), float("inf")),
        *(1_230_767_999, "2008-12-31T23:59:59Z", "1970-01-01 00:00:00 UTC", "0001-01-01T00:00:00+14:00", 1_000_000_000),
        *(SECONDS * 10, SECONDS * 10**12, "9999-12-31T23:59:59-14:00", "Sat, 99 Nov 2026 10:00:00 GMT", "1" * 5_000),
        *("28/11/2026 10:00", "2026-11-28 10:00:00 BRT", "x" * 5_000),
    ],
)
def test_what_cannot_be_a_time_of_ours_is_none(written: Any) -> None:
    assert instant(written) is None
    assert epoch(written) is None


@given(st.text(max_size=40) | st.text("0123456789 :-+.TZGMUCSatNov,", max_size=40) | st.floats() | st.integers())
def test_nothing_that_is_written_for_a_time_raises(written: Any) -> None:
    found = instant(written)
    assert found is None or found.utcoffset() == timedelta(0)
    assert (found is None) == (epoch(written) is None)
