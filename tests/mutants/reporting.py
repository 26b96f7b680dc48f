"""A plugin of pytest that notes how each test ended, line by line, in the file that the environment names."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

REPORT_VARIABLE = "PROSA_MUTANTS_REPORT"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Writes at once: what was noted stands there also where the run never ends."""
    if report.when != "call" and report.outcome == "passed":
        return
    outcome = report.outcome if report.when == "call" or report.skipped else "error"
    with Path(os.environ[REPORT_VARIABLE]).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"test": report.nodeid, "outcome": outcome}) + "\n")
