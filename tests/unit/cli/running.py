"""Runs the `prosa` command inside the test's process."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner, Result

from cli.main import app

RUNNER = CliRunner()
_INHERITED = ("PROSA_HOME", "PROSA_KEYS_DIR", "PROSA_DATABASE_URL", "PROSA_READER_DATABASE_URL", "PROSA_GRPC_ADDRESS")


def prosa(*words: str, environment: dict[str, str] | None = None) -> Result:
    """What the command does with these words. Variables that a developer may have set do not count."""
    clear = dict.fromkeys(_INHERITED)
    return RUNNER.invoke(app, list(words), env={**clear, "PROSA_HOME": "/nowhere/at-all", **(environment or {})})


def document(result: Result) -> Any:
    """The one JSON document on standard output."""
    return json.loads(result.stdout)
