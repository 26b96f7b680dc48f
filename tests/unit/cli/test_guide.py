"""What `prosa up` tells to type next: it works as it stands, whatever the port, the home and the PATH."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from cli.demo.guide import guide, typed
from cli.home import home_directory

URL = "http://127.0.0.1:8137"
FAKE = "http://127.0.0.1:3100"
CONTENT = {"url": URL, "organization_id": None, "admin": None}


def test_examples_name_the_address_and_home_that_run() -> None:
    content = {**CONTENT, "organization_id": "o1", "admin": {"email": "ana@example.com", "password": "p"}}
    told = "\n".join(guide(content, Path("/srv/prosa"), FAKE, "PROSA_HOME=/srv/prosa prosa"))
    assert "8080" not in told
    assert told.count(f"{URL}/api/v1/") == 4
    assert "  demo sign-in   ana@example.com  p\n" in told
    assert f"  dashboard      {URL}\n" in told
    assert " /srv/prosa/bootstrap.json)" in told
    assert "PROSA_HOME=/srv/prosa prosa feed tail" in told
    assert f"{FAKE}/_sandbox/incoming" in told


@pytest.mark.case("O14")
@pytest.mark.parametrize("name", ["home", "Ana's home", 'so "called" $HOME', "a;b"])
def test_the_printed_line_finds_the_key_whatever_the_home_is_called(name: str, tmp_path: Path) -> None:
    home = tmp_path / name
    home.mkdir()
    (home / "bootstrap.json").write_text(json.dumps({"api_key": "prosa_abc", "url": URL}, indent=2))
    content = {**CONTENT, "organization_id": "o1"}
    (line,) = (line for line in guide(content, home, FAKE) if line.startswith("  KEY="))
    found = subprocess.run(["sh", "-c", f'{line}\necho "$KEY"'], capture_output=True, text=True, check=True)
    assert (found.stdout, found.stderr) == ("prosa_abc\n", "")


def test_without_an_organization_it_says_how_to_make_one() -> None:
    assert "  /opt/prosa org create --name 'Your business' --admin you@example.com" in guide(
        CONTENT, Path("/srv/prosa"), "", "/opt/prosa"
    )


def test_a_command_is_short_where_the_shell_finds_it_and_the_home_is_the_usual_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "prosa"
    program.parent.mkdir()
    program.touch(mode=0o755)
    usual = home_directory({})
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    assert typed(os.fspath(program), usual) == os.fspath(program)
    monkeypatch.setenv("PATH", os.fspath(program.parent))
    assert typed(os.fspath(program), usual) == "prosa"
    assert typed(os.fspath(program), Path("/my home")) == "PROSA_HOME='/my home' prosa"


def test_a_program_named_from_where_one_stands_is_named_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    assert typed(".venv/bin/prosa", home_directory({})) == f"{tmp_path}/.venv/bin/prosa"
