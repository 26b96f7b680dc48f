"""`prosa keys create`: the key files of an installation, drawn once."""

from __future__ import annotations

from pathlib import Path

from chassis.system import ISSUERS
from tests.unit.cli.running import document, prosa


def test_every_issuer_gets_a_pair_and_nobody_else_can_read_the_private_half(tmp_path: Path) -> None:
    made = document(prosa("keys", "create", "--directory", str(tmp_path / "keys"), "--json"))
    assert {f"{issuer}.key" for issuer in ISSUERS} <= set(made["created"])
    assert "encryption.json" in made["created"]
    for name in made["created"]:
        if not name.endswith(".pub"):
            assert (tmp_path / "keys" / name).stat().st_mode & 0o077 == 0


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    prosa("keys", "create", "--directory", str(tmp_path))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    again = document(prosa("keys", "create", "--directory", str(tmp_path), "--json"))
    assert again["created"] == []
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
