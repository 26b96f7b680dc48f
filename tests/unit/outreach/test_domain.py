"""Rules of suppressions."""

from __future__ import annotations

import pytest

from services.outreach.domain import readable


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("não me escreva mais", "não me escreva mais"),
        (" PARE\x00\nJÁ ", "PARE JÁ"),
        ("", ""),
    ],
)
def test_a_reason_is_kept_in_the_words_of_who_asked_as_far_as_they_can_be_stored(reason: str, expected: str) -> None:
    assert readable(reason) == expected
