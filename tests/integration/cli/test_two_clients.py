"""Two clients are set up by commands alone: nothing in the code knows either of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import aiohttp
import orjson
import pytest

from cli.smoke.bodies import Writer, flat_message
from prosa.v1.options_pb2 import SOURCE_INSTAGRAM
from sandbox.chatwoot.signing import signed_request
from tests.integration.cli.operator import Operator
from tests.world import World

INBOX_ID = 22


async def set_up(operator: Operator, name: str, email: str, account_id: int) -> dict[str, Any]:
    """An organization with a Chatwoot of its own and its Instagram inbox; made twice, it is there once."""
    words = ("org", "create", "--name", name, "--admin", email, "--json")
    made = (await operator.prosa(*words)).document
    again = (await operator.prosa(*words)).document
    assert (made["created"], again["created"]) == (True, False)
    assert again["organization_id"] == made["organization_id"]
    assert again["admin"] == {"email": email, "password": None}
    secret, org = f"secret-of-{account_id}", ("--org", name)
    connection = await operator.prosa(
        *("connection", "create", *org, "--name", "Chatwoot", "--account-id", str(account_id), "--json"),
        PROSA_WEBHOOK_SECRET=secret,
    )
    channel = await operator.prosa(
        *("channel", "create", *org, "--connection", "Chatwoot", "--name", "Direct", "--source", "instagram"),
        *("--inbox-id", str(INBOX_ID)),
    )
    assert (connection.code, channel.code) == (0, 0), channel.err
    return {
        "organization_id": made["organization_id"],
        "path": connection.document["webhook_path"],
        "secret": secret,
        "account_id": account_id,
    }


async def direct(world: World, client: dict[str, Any]) -> dict[str, Any]:
    """Somebody writes to the client's Instagram for the first time; answers the event once it is done."""
    now = datetime.now(UTC)
    person = Writer(SOURCE_INSTAGRAM, f"17841{client['account_id']:012}", "Ana", client["account_id"], INBOX_ID)
    raw = orjson.dumps(flat_message(person, 5, 55, "Oi, vi o anúncio", now))
    headers = signed_request(raw, client["secret"], str(uuid4()), int(now.timestamp()))
    url = f"http://127.0.0.1:{world.host.http_port}{client['path']}"
    async with aiohttp.ClientSession() as session, session.post(url, data=raw, headers=headers) as answer:
        assert answer.status == 200
        event_id = (await answer.json())["webhook_event_id"]
    rows = await world.until("select * from ingest.webhook_events where id = %s and state <> 'PENDING'", event_id)
    return dict(rows[0])


@pytest.mark.req("ID-20", "ID-21")
async def test_instagram_works_for_two_clients_that_commands_have_set_up(operator: Operator, world: World) -> None:
    emails = {name: f"{uuid4().hex}@cliente.example" for name in (f"Clínica {uuid4().hex}", f"Escola {uuid4().hex}")}
    clients = {name: await set_up(operator, name, email, 300 + n) for n, (name, email) in enumerate(emails.items())}
    for client in clients.values():
        event = await direct(world, client)
        assert (event["state"], str(event["organization_id"])) == ("PROCESSED", client["organization_id"])
        assert event["contact_id"] is not None
        assert event["deal_id"] is not None
        identities = await world.rows(
            "select source, external_id from identity.contact_identities where organization_id = %s",
            client["organization_id"],
        )
        assert identities == [{"source": "INSTAGRAM", "external_id": f"17841{client['account_id']:012}"}]
    # Before it goes live, everybody sees which organization it is and who may change it.
    for name, client in clients.items():
        seen = await operator.prosa("org", "doctor", "--org", name)
        assert f"{name}  {client['organization_id']}" in seen.out
        assert f"set up a second factor: {emails[name]}." in seen.out
        assert seen.code == 1
