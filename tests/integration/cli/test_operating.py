"""Setting up an organization at the terminal, and looking after its events."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import aiohttp
import orjson
import pytest

from cli.smoke.bodies import Writer, flat_conversation, flat_message
from prosa.v1.options_pb2 import SOURCE_WHATSAPP
from sandbox.chatwoot.signing import signed_request
from tests.integration.cli.operator import Operator
from tests.world import World, reader_url

SECRET = "only-for-tests-0123456789"
ACCOUNT_ID, INBOX_ID = 91, 21


async def test_an_organization_is_made_once_with_its_board(operator: Operator) -> None:
    words = ("org", "create", "--name", "Padaria Aurora", "--admin", "ana@padaria-aurora.example")
    first = (await operator.prosa(*words, "--json")).document
    again = (await operator.prosa(*words, "--json")).document
    assert first["created"] is True
    assert first["admin"]["password"]
    assert again == {**first, "created": False, "admin": {"email": "ana@padaria-aurora.example", "password": None}}
    listed = (await operator.prosa("org", "list", "--json")).document["organizations"]
    assert [item["organization_id"] for item in listed if item["name"] == "Padaria Aurora"] == [
        first["organization_id"]
    ]


async def test_an_owners_password_can_come_from_a_variable_and_is_not_printed(operator: Operator) -> None:
    words = ("org", "create", "--name", "Livraria Lua", "--admin", "lia@livraria-lua.example")
    made = await operator.prosa(*words, "--password-env", "OWNER", OWNER="correct horse battery staple")
    assert made.code == 0
    assert "battery" not in made.out
    missing = await operator.prosa(*words, "--password-env", "OWNER")
    assert missing.code == 2
    assert "OWNER is not set" in missing.err


async def test_what_does_not_exist_is_named_with_what_does(operator: Operator) -> None:
    await operator.prosa("org", "create", "--name", "Oficina Sol", "--admin", "eva@oficina-sol.example")
    missing = await operator.prosa("connection", "list", "--org", "Oficina Lua")
    assert missing.code == 1
    assert "'Oficina Lua'" in missing.err
    assert "'Oficina Sol'" in missing.err
    check = await operator.prosa("connection", "check", "main", "--org", "Oficina Sol")
    assert check.code == 1
    assert "prosa connection create" in check.err


@pytest.mark.req("OP-03")
async def test_the_verification_queries_take_a_name_and_say_what_there_is_not(operator: Operator, world: World) -> None:
    await operator.prosa("org", "create", "--name", "Ateliê Mar", "--admin", "rui@atelie-mar.example")
    reader = {"PROSA_READER_DATABASE_URL": reader_url(world.database_url)}
    shown = await operator.prosa_from_the_start("sql", "links", "--org", "Ateliê Mar", "--json", **reader)
    assert (shown.code, shown.document) == (0, {"rows": []})
    missing = await operator.prosa_from_the_start("smoke", "verify", "--org", "Ateliê Sol", **reader)
    assert missing.code == 2
    assert "'Ateliê Sol'" in missing.err


@pytest.mark.req("IN-10", "CO-01")
async def test_from_an_empty_organization_to_a_replayed_event(operator: Operator, world: World) -> None:
    name = f"Ateliê {uuid4().hex[:6]}"
    org = ("--org", name)
    made = (await operator.prosa("org", "create", "--name", name, "--admin", "rui@atelie.example", "--json")).document
    connection = (
        await operator.prosa(
            *("connection", "create", *org, "--name", "main", "--account-id", str(ACCOUNT_ID), "--json"),
            PROSA_WEBHOOK_SECRET=SECRET,
        )
    ).document
    assert connection["secret_count"] == 1
    assert SECRET not in orjson.dumps(connection).decode()
    channel = await operator.prosa(
        *("channel", "create", *org, "--connection", "main", "--name", "WhatsApp", "--source", "whatsapp"),
        *("--inbox-id", str(INBOX_ID), "--json"),
    )
    assert channel.document["inbox_id"] == INBOX_ID
    key = (
        await operator.prosa_from_the_start("api-key", "create", *org, "--name", "n8n", "--scope", "*", "--json")
    ).document
    assert key["secret"].startswith("ncrm_")

    message_id, dead_id = await _send(world, connection["webhook_path"], made["organization_id"])

    reader = {"PROSA_READER_DATABASE_URL": reader_url(world.database_url)}
    linked = (await operator.prosa("sql", "links", *org, "--limit", "20", "--json", **reader)).document["rows"]
    event = (await operator.prosa("events", "show", message_id, *org, "--json")).document
    [link] = linked
    assert "contact_id" in event, event
    assert (link["chatwoot_conversation_id"], link["status"]) == (5, "open")
    assert link["contact_id"] == event["contact_id"]
    assert link["updated_at"]

    listing = ("events", "list", *org, "--state", "dead-letter", "--since", "10m", "--json")
    dead = (await operator.prosa(*listing)).document
    assert [item["webhook_event_id"] for item in dead["webhook_events"]] == [dead_id]
    shown = await operator.prosa("events", "show", dead_id, *org)
    assert "NO_VALID_IDENTITY" in shown.out
    replayed = await operator.prosa("events", "replay", message_id, *org, "--json")
    assert replayed.code == 0
    assert replayed.document["same_result"] is True
    assert replayed.document["state"] == "PROCESSED"

    counted = (await operator.prosa("events", "replay", *org, "--since", "10m", "--dry-run", "--json")).document
    assert counted["matched_count"] == 1
    assert counted["groups"] == [{"state": "DEAD_LETTER", "reason": "NO_VALID_IDENTITY", "count": 1}]
    refused = await operator.prosa("events", "replay", *org, "--since", "10m", typed="n\n")
    assert refused.code == 1
    assert "Process 1 event again?" in refused.out
    nothing = await operator.prosa("events", "replay", *org, "--since", "10m", "--reason", "UNHEARD_OF")
    assert (nothing.code, nothing.out) == (0, "No event matches.\n")
    words = ("events", "replay", *org, "--since", "10m", "--state", "processed")
    whole = (await operator.prosa(*words, "--yes", "--json")).document
    assert whole["outcomes"] == {"PROCESSED": 1}

    # Named by its type: between the streams of two services nothing says which fact the feed takes first.
    created = ("--type", "prosa.identity.v1.OrganizationCreated")
    tail = await operator.prosa("feed", "tail", *org, "--after", "0", "--count", "1", *created, "--json")
    assert tail.document["type"] == "prosa.identity.v1.OrganizationCreated"
    only = ("connection", "add-secret", "main", *org, "--only")
    assert (await operator.prosa(*only, PROSA_WEBHOOK_SECRET=SECRET)).out == "main: 1 live secret.\n"
    revoked = (await operator.prosa("api-key", "revoke", key["api_key_id"], *org, "--json")).document
    assert revoked["revoke_time"] is not None


async def test_a_mistyped_connection_and_channel_are_mended_and_keep_their_address(operator: Operator) -> None:
    name = f"Empório {uuid4().hex[:6]}"
    org = ("--org", name)
    await operator.prosa("org", "create", "--name", name, "--admin", "ivo@emporio.example")
    refused = await operator.prosa("connection", "create", *org, "--name", "main", "--account-id", "0")
    assert refused.code == 2
    made = (
        await operator.prosa(
            *("connection", "create", *org, "--name", "main", "--account-id", "9", "--json"),
            PROSA_WEBHOOK_SECRET=SECRET,
        )
    ).document
    created = ("channel", "create", *org, "--connection", "main", "--name", "WhatsApp", "--source", "whatsapp")
    channel = (await operator.prosa(*created, "--inbox-id", "2", "--json")).document

    nothing = await operator.prosa("connection", "update", "main", *org)
    assert nothing.code == 2
    assert "PROSA_CHATWOOT_ACCESS_TOKEN" in nothing.err
    token = {"PROSA_CHATWOOT_ACCESS_TOKEN": "token-girado"}
    words = ("--account-id", str(ACCOUNT_ID), "--base-url", "https://chat.example.com", "--json")
    changed = await operator.prosa("connection", "update", "main", *org, *words, **token)
    assert changed.code == 0, changed.err
    assert changed.document == made | {
        "account_id": ACCOUNT_ID,
        "base_url": "https://chat.example.com",
        "access_token_set": True,
    }
    assert "token-girado" not in changed.out + changed.err
    again = await operator.prosa("connection", "update", "main", *org, **token)
    assert "the same as before" in again.out
    elsewhere = await operator.prosa("connection", "update", "main", *org, "--base-url", "https://novo.example.com")
    assert elsewhere.code == 1
    assert "Send PROSA_CHATWOOT_ACCESS_TOKEN" in elsewhere.err

    mend = ("channel", "update", "WhatsApp", *org, "--connection", "main")
    mended = await operator.prosa(*mend, "--inbox-id", str(INBOX_ID), "--inactive", "--json")
    assert mended.document == channel | {"inbox_id": INBOX_ID, "active": False}
    shown = await operator.prosa(*mend, "--active", "--source", "instagram")
    assert (shown.code, "INSTAGRAM" in shown.out) == (0, True)
    unknown = await operator.prosa_from_the_start(
        "channel", "update", "Telegram", *org, "--connection", "main", "--active"
    )
    assert unknown.code == 1
    assert "'WhatsApp'" in unknown.err


async def _send(world: World, path: str, organization_id: str) -> tuple[str, str]:
    """Lets one person write, and one whom nobody can identify; answers their events' ids once they are done."""
    now = datetime.now(UTC)
    person = Writer(SOURCE_WHATSAPP, "+5511900000091", "Ana", ACCOUNT_ID, INBOX_ID)
    nobody = Writer(SOURCE_WHATSAPP, "", "Ninguém", ACCOUNT_ID, INBOX_ID)
    ids = []
    async with aiohttp.ClientSession() as session:
        for body in (flat_message(person, 5, 55, "Oi", now), flat_conversation(nobody, 6, now)):
            raw = orjson.dumps(body)
            headers = signed_request(raw, SECRET, str(uuid4()), int(now.timestamp()))
            async with session.post(
                f"http://127.0.0.1:{world.host.http_port}{path}", data=raw, headers=headers
            ) as answer:
                assert answer.status == 200
                ids.append((await answer.json())["webhook_event_id"])
    await world.until(
        "select from ingest.webhook_events where organization_id = %s and state <> 'PENDING' having count(*) = 2",
        organization_id,
    )
    return ids[0], ids[1]


@pytest.mark.case("F01")
async def test_a_word_that_is_no_text_is_taken_with_its_half_character_replaced(operator: Operator) -> None:
    half = b"Padaria \xf0\x9f\x8d".decode("utf-8", "surrogateescape")
    words = ("org", "create", "--name", half, "--admin", "noemi@padaria.example", "--json")
    made = await operator.prosa(*words, PYTHONIOENCODING="utf-8")
    assert made.code == 0, made.err
    listed = (await operator.prosa("org", "list", "--json")).document["organizations"]
    assert "Padaria \ufffd" in [item["name"] for item in listed]
