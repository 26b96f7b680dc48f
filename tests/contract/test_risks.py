"""The page of risks names tests that are there."""

from __future__ import annotations

import re

import pytest

from tests.contract.reasons import ROOT

PAGE = (ROOT / "docs" / "risks.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| risk", "| ---"))]
WANTED = (
    *("wrong inbox", "regression", "duplicate", "wrong deal", "divergence", "provider", "scheduler", "terms of use"),
    *("automation", "ban", "spam", "law"),
)
"""What such a page must speak of, in its own words."""


@pytest.mark.req("OP-18")
def test_each_risk_has_a_test_that_is_there() -> None:
    assert len(ROWS) >= len(WANTED)
    for row in ROWS:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, row
        for file, name in named:
            text = (ROOT / file).read_text(encoding="utf-8")
            assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), f"{file}::{name}"


@pytest.mark.req("OP-18")
@pytest.mark.parametrize("risk", WANTED)
def test_no_kind_of_risk_is_left_out(risk: str) -> None:
    assert [row for row in ROWS if risk in row.partition(" | ")[0].lower()]
