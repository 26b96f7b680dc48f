"""What a command says when something outside of it is wrong: a sentence that a person can act on."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.smoke.target import said
from tests.unit.cli.running import document, prosa

NOBODY = "127.0.0.1:1"


@pytest.fixture
def keys(tmp_path: Path) -> str:
    """A directory of key files."""
    prosa("keys", "create", "--directory", str(tmp_path))
    return str(tmp_path)


def test_services_that_do_not_answer_are_named_with_their_address(keys: str) -> None:
    environment = {"PROSA_GRPC_ADDRESS": NOBODY, "PROSA_KEYS_DIR": keys}
    told = document(prosa("org", "list", "--json", environment=environment))["error"]
    assert told["reason"] == "SERVICE_UNAVAILABLE"
    assert f"Nothing answers at {NOBODY}." in told["message"]
    assert "PROSA_GRPC_ADDRESS" in told["message"]


def test_a_suite_that_was_killed_is_not_taken_for_one_that_runs(tmp_path: Path) -> None:
    prosa("keys", "create", "--directory", str(tmp_path / "keys"))
    (tmp_path / "bootstrap.json").write_text(f'{{"grpc_address": "{NOBODY}"}}')
    told = prosa("org", "list", environment={"PROSA_HOME": str(tmp_path)}).stderr
    assert f"`prosa up` in {tmp_path} is just starting, or was killed: start it again." in told


@pytest.mark.parametrize("content", ["", '{"grpc_address"', "\x00"])
def test_a_damaged_bootstrap_file_is_named_with_what_makes_it_anew(tmp_path: Path, content: str) -> None:
    (tmp_path / "bootstrap.json").write_text(content)
    result = prosa("org", "list", environment={"PROSA_HOME": str(tmp_path)})
    assert result.exit_code == 1
    assert f"{tmp_path / 'bootstrap.json'} is damaged. Start `prosa up` again" in result.stderr


def test_a_database_that_is_away_is_told_without_the_drivers_words() -> None:
    result = prosa("migrate", "--check", environment={"PROSA_DATABASE_URL": "postgresql://x:y@127.0.0.1:1/x"})
    assert result.exit_code == 1
    assert "The database at 127.0.0.1:1 does not answer." in result.stderr
    assert "psycopg" not in result.stderr


def test_variables_of_no_running_installation_are_not_made_up() -> None:
    result = prosa("smoke", "variables")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Nothing runs in" in result.stderr
    assert "prosa up" in result.stderr


def test_a_database_url_that_is_none_is_not_shown() -> None:
    result = prosa("migrate", environment={"PROSA_DATABASE_URL": "secret-word@nowhere"})
    assert result.exit_code == 2
    assert "PROSA_DATABASE_URL is no database URL. Write postgresql://" in result.stderr
    assert "secret-word" not in result.stderr


@pytest.mark.parametrize("name", ["timeout", "connect_timeout", "tcp_user_timeout"])
def test_a_timeout_that_a_database_url_sets_is_refused_and_not_ignored(keys: str, name: str) -> None:
    url = f"postgresql://prosa_crm:secret-word@127.0.0.1:1/x?sslmode=disable&{name}=30"
    result = prosa("serve", "--target", "crm", environment={"PROSA_CRM_DATABASE_URL": url, "PROSA_KEYS_DIR": keys})
    assert result.exit_code == 2
    told = " ".join(result.stderr.split())
    assert f"PROSA_CRM_DATABASE_URL: It sets {name}, which Prosa does not take from outside." in told
    assert "secret-word" not in told


def test_key_files_that_cannot_be_kept_name_the_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    result = prosa("keys", "create", "--directory", str(tmp_path / "file"))
    assert result.exit_code == 1
    assert f"Key files cannot be kept in {tmp_path / 'file'} (File exists)" in result.stderr


def test_a_region_that_is_no_country_is_refused_before_anything_is_made() -> None:
    result = prosa("org", "create", "--name", "Ana", "--admin", "ana@example.com", "--region", "XX")
    assert result.exit_code == 2
    assert "--region 'XX' is no country. Write its two ISO letters, such as BR." in result.stderr


def test_keys_that_are_nowhere_are_asked_for_by_the_variable_that_names_them(tmp_path: Path) -> None:
    result = prosa("serve", "--target", "identity", environment={"PROSA_KEYS_DIR": str(tmp_path / "none")})
    assert "Set it to the one that holds the key files; `prosa keys create` fills it." in result.stderr


def test_the_public_port_may_be_called_port() -> None:
    assert "No such option" not in prosa("up", "--port", "0").stderr


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"error": "Invalid signature"}, "Invalid signature"),
        ({"title": "Unauthenticated", "detail": "This API key was revoked."}, "This API key was revoked"),
        ({"success": True, "ignored": "foreign_inbox"}, '{"success":true,"ignored":"foreign_inbox"}'),
        ("<html>", "<html>"),
    ],
)
def test_the_smoke_shows_what_was_answered_as_it_was_said(body: object, told: str) -> None:
    assert said(body) == told


@pytest.mark.case("S13")
def test_the_demo_says_that_it_goes_with_no_certificate(tmp_path: Path) -> None:
    environment = {"PROSA_HOME": str(tmp_path / "home"), "PROSA_TLS_CERTIFICATE": "/etc/prosa/certificate.pem"}
    result = prosa("up", "--demo", environment=environment)
    assert result.exit_code == 2
    assert "PROSA_TLS_CERTIFICATE" in result.output
    assert not (tmp_path / "home").exists()
