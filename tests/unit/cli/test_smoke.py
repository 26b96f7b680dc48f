"""What the smoke needs to know, and the webhooks it sends."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from chassis.canonical import Source as CanonicalSource
from cli.failures import Refused
from cli.smoke import settings
from cli.smoke.bodies import Writer, flat_conversation, flat_message, nested_conversation
from cli.smoke.command import SCENARIOS, Outcome, choose, line
from prosa.v1.options_pb2 import SOURCE_INSTAGRAM, SOURCE_WHATSAPP
from services.ingest.normal_form import ChannelInfo, ConnectionContext, EventKind, NormalEvent, Note
from services.ingest.providers.chatwoot.parse import parse
from tests.unit.cli.running import prosa

NOW = datetime(2026, 5, 13, 12, 0, tzinfo=UTC)
VARIABLES = {
    "SMOKE_BASE_URL": "http://127.0.0.1:9/",
    "SMOKE_CHATWOOT_ACCOUNT_ID": "7",
    "SMOKE_CHATWOOT_INBOX_INSTAGRAM_ID": "22",
    "SMOKE_CHATWOOT_INBOX_WHATSAPP_ID": "21",
    "SMOKE_INSTAGRAM_IGSID": "7733100045600121",
    "SMOKE_WHATSAPP_PHONE": "11 90000-4821",
}
CONNECTION = ConnectionContext(
    "connection",
    {"21": ChannelInfo("w", CanonicalSource.WHATSAPP), "22": ChannelInfo("i", CanonicalSource.INSTAGRAM)},
    account_id="7",
)
WHATSAPP = Writer(SOURCE_WHATSAPP, "+5511900004821", "Ana", 7, 21)
INSTAGRAM = Writer(SOURCE_INSTAGRAM, "7733100045600121", "Ana", 7, 22)


@pytest.mark.req("OP-01")
@pytest.mark.parametrize("missing", settings.REQUIRED)
def test_a_missing_variable_is_named_and_the_smoke_fails(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in settings.REQUIRED:
        monkeypatch.delenv(name, raising=False)
    result = prosa("smoke", environment={name: value for name, value in VARIABLES.items() if name != missing})
    assert result.exit_code != 0
    assert f"Missing required env vars: {missing}." in result.stderr


def test_the_file_completes_the_environment_and_never_overrules_it(tmp_path: Path) -> None:
    (tmp_path / settings.FILE).write_text("SMOKE_BASE_URL=http://file\nSMOKE_TIMEOUT_MS='2500'\nSMOKE_EMPTY=\n")
    found = settings.variables({"SMOKE_BASE_URL": "http://environment", "SMOKE_TIMEOUT_MS": ""}, tmp_path)
    assert found == {"SMOKE_BASE_URL": "http://environment", "SMOKE_TIMEOUT_MS": "2500"}


def test_variables_become_settings_with_canonical_ids() -> None:
    found = settings.read(VARIABLES)
    assert found.base_url == "http://127.0.0.1:9"
    # Without its country it waits for the organization's region.
    assert (found.phone, found.igsid) == ("11 90000-4821", "7733100045600121")
    assert settings.phone_in("BR", found.phone) == "+5511900004821"
    with pytest.raises(Refused, match="SMOKE_WHATSAPP_PHONE"):
        settings.phone_in("MX", "81 8345")
    assert found.timeout_seconds == 15.0
    assert found.webhook_secret == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SMOKE_CHATWOOT_ACCOUNT_ID", "seven"),
        ("SMOKE_CHATWOOT_INBOX_WHATSAPP_ID", "0"),
        ("SMOKE_WHATSAPP_PHONE", "unknown"),
        ("SMOKE_INSTAGRAM_IGSID", "@ana"),
        ("SMOKE_TIMEOUT_MS", "-1"),
    ],
)
def test_a_value_that_makes_no_sense_is_named(name: str, value: str) -> None:
    with pytest.raises(Refused, match=name):
        settings.read({**VARIABLES, name: value})


def test_an_installation_that_is_not_this_machines_needs_a_database_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    elsewhere = {**VARIABLES, "SMOKE_BASE_URL": "https://prosa.example.com"}
    result = prosa("smoke", environment=elsewhere)
    assert result.exit_code == 2
    assert "PROSA_READER_DATABASE_URL" in result.stderr


@pytest.mark.parametrize("words", [("smoke",), ("smoke", "--org", "Ana"), ("smoke", "variables"), ("smoke", "verify")])
def test_a_stopped_installation_is_said_to_be_stopped(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = prosa(*words, environment=VARIABLES)
    assert result.exit_code == 1
    assert "Nothing runs in /nowhere/at-all" in result.stderr
    assert "`prosa up`" in result.stderr


def test_the_example_is_what_the_smoke_reads() -> None:
    bootstrap = {
        "url": "http://127.0.0.1:8080",
        "chatwoot": {"account_id": 7, "webhook_secret": "s", "inboxes": {"whatsapp": 21, "instagram": 22}},
    }
    found = settings.read(settings.example(bootstrap))
    assert (found.account_id, found.whatsapp_inbox_id, found.instagram_inbox_id) == (7, 21, 22)
    assert found.webhook_secret == "s"


def test_scenarios_are_chosen_by_name_and_run_in_their_order() -> None:
    assert choose("") == list(SCENARIOS)
    assert choose("isolation, whatsapp") == ["whatsapp", "isolation"]
    with pytest.raises(Refused, match="instagram_first"):
        choose("whatsapp,telegram")


def test_a_scenario_is_one_line() -> None:
    assert line(Outcome("whatsapp", passed=True, seconds=0.51, seen="200")) == "PASS  whatsapp           0.51 s  200"
    assert line(Outcome("isolation", passed=False, seconds=15.0, seen="no row")).startswith("FAIL  isolation ")


def parsed(body: dict[str, object]) -> NormalEvent:
    found = parse(orjson.dumps(body), CONNECTION)
    assert isinstance(found, NormalEvent), found
    return found


@pytest.mark.parametrize("writer", [WHATSAPP, INSTAGRAM])
def test_both_shapes_of_a_conversation_name_the_same_person(writer: Writer) -> None:
    flat, nested = (parsed(make(writer, 391, NOW)) for make in (flat_conversation, nested_conversation))
    for event in (flat, nested):
        assert event.kind is EventKind.CONVERSATION_CREATED
        assert event.person.identity is not None
        assert event.person.identity.external_id == writer.external_id
        assert event.conversation is not None
        assert event.conversation.conversation_id == "391"
    assert Note.LEGACY_SHAPE in nested.notes
    assert Note.LEGACY_SHAPE not in flat.notes


def test_a_message_is_read_with_its_text() -> None:
    event = parsed(flat_message(WHATSAPP, 391, 5120, "Oi!", NOW))
    assert event.kind is EventKind.MESSAGE_CREATED
    assert event.message is not None
    assert event.message.text == "Oi!"


def test_a_person_without_an_identity_is_one_that_nobody_can_process() -> None:
    nobody = Writer(SOURCE_WHATSAPP, "", "Ana", 7, 21)
    found = parse(orjson.dumps(flat_conversation(nobody, 391, NOW)), CONNECTION)
    assert isinstance(found, NormalEvent)
    # Only references of the provider are left, and nobody has been known by them.
    assert (found.person.identity, found.person.own, found.person.needs_region) == (None, None, False)


def test_two_people_never_share_a_contact_id() -> None:
    assert WHATSAPP.contact_id != INSTAGRAM.contact_id
    assert WHATSAPP.contact_id == Writer(SOURCE_WHATSAPP, "+5511900004821", "Outra", 7, 21).contact_id
