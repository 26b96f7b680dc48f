"""What `make install` does for the dashboard, and what it leaves alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools import dashboard


def test_npm_finds_our_node_first_and_keeps_its_cache_where_there_is_a_home(tmp_path: Path) -> None:
    made = dashboard.environment({"HOME": str(tmp_path), "PATH": "/usr/bin"})
    assert made["PATH"].split(":") == [str(Path(sys.executable).parent), "/usr/bin"]
    assert "npm_config_cache" not in made


@pytest.mark.parametrize("home", ["", "/nowhere/at/all"])
def test_npm_needs_no_home(home: str) -> None:
    made = dashboard.environment({"HOME": home, "PATH": "/usr/bin"})
    assert made["npm_config_cache"].startswith(sys.prefix)
    assert made["HOME"] == sys.prefix


def test_a_digest_follows_names_and_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "ROOT", tmp_path)
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"a")
    before = dashboard.digest([one])
    one.rename(other)
    assert dashboard.digest([other]) != before
    other.rename(one)
    assert dashboard.digest([one]) == before
    one.write_bytes(b"b")
    assert dashboard.digest([one]) != before


def test_what_is_made_changes_no_digest_and_contracts_do() -> None:
    found = dashboard.inputs()
    assert dashboard.SOURCE / "package-lock.json" in found
    assert dashboard.ROOT / "gen" / "prosa" / "descriptors.binpb" in found
    assert not any("node_modules" in path.parts or path == dashboard.TYPES for path in found)


def test_what_a_step_said_is_told_where_it_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dashboard, "SOURCE", tmp_path)
    with pytest.raises(dashboard.Broken, match=r"(?s)no_such_module.*failed"):
        dashboard.run("python", "-m", "no_such_module", quiet=True)
    with pytest.raises(dashboard.Broken, match="make install"):
        dashboard.run("no-such-program")


def test_the_lock_names_no_registry() -> None:
    lock = (dashboard.SOURCE / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    assert '"integrity"' in lock
