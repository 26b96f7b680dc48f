"""The Dockerfile as a linter reads it, and what it takes along. `make image` builds it and runs the demo in it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.reasons import ROOT

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
HADOLINT = Path(sys.executable).with_name("hadolint")


def test_the_linter_has_nothing_against_it() -> None:
    if not HADOLINT.exists():
        pytest.skip("`make chart` installs what looks at the Dockerfile")
    ended = subprocess.run([HADOLINT, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "")


def test_it_takes_every_package_that_is_installed_and_nobody_elses_rights() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    packages = re.findall(r"^packages = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    named = set(re.findall(r'"([a-z/]+)"', packages[0]))
    copied = set(re.findall(r"^COPY ([a-z]+) /opt/prosa/app", text, re.MULTILINE))
    assert copied == {name.partition("/")[0] for name in named}
    assert text.rindex("USER 10001:10001") > text.rindex("FROM ")
    seen = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {f"!{name}" for name in copied} <= set(seen)
    assert "--require-hashes" in text
