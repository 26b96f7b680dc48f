"""What a person writes is gathered under the key of the channel: one who writes on two has two buffers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from chassis.canonical import split_key
from prosa.conversation.v1.events_pb2 import TurnGathered
from tests.harness import Harness, changed, sample
from tests.integration.main_way.test_people import cloud, ensured
from tests.integration.outreach.test_kill_and_policy import Rest
from tests.world import ADMIN

PHONE, IGSID = "+5511900008801", "7733100045608801"
KEYS = """
select table_schema, table_name, column_name from information_schema.columns
join information_schema.tables using (table_schema, table_name)
where table_schema in ('identity', 'ingest', 'conversation', 'crm', 'outreach') and table_type = 'BASE TABLE'
  and column_name like '%%conversation_key'
"""


def direct(number: int, text: str) -> dict[str, Any]:
    """A message of that person on Instagram."""
    return changed(
        sample("message_created.instagram_login.incoming_image"),
        id=9100 + number,
        source_id=f"aWdfZAG1{number}",
        content=text,
        attachments=[],
        conversation__contact_inbox__source_id=IGSID,
    )


@pytest.mark.req("CO-02")
async def test_a_person_on_two_channels_has_two_buffers_under_canonical_keys(harness: Harness) -> None:
    world, organization_id = harness.world, harness.organization_id
    admin = Rest(world, organization_id, ADMIN)
    settings = {"debounce_seconds": 5, "debounce_max_seconds": 60}
    assert (await admin.call("PATCH", "/conversation-settings", settings))[0] == 200
    known = await ensured(harness, PHONE, phone=PHONE)
    linked = await ensured(harness, IGSID, "INSTAGRAM", phone=PHONE)
    assert linked["contact_id"] == known["contact_id"]

    now = world.clock.now()
    for place, text in enumerate(("Oi, sou eu", "no direct", "de novo", "e aqui também")):
        body = direct(place, text) if place % 2 else cloud(0, PHONE, id=9200 + place, source_id=f"wamid.B{place}")
        written = {"content": text, "created_at": (now + timedelta(seconds=place)).isoformat()}
        event = await harness.deliver(body | written)
        assert (event["state"], str(event["contact_id"])) == ("PROCESSED", known["contact_id"]), event
    await world.until(
        "select 1 from conversation.turns where organization_id = %s and state = 'GATHERED' having count(*) = 2",
        organization_id,
    )
    turns = await world.announced(TurnGathered, organization_id)
    assert {turn.conversation_key: [message.text for message in turn.messages] for turn in turns} == {
        f"whatsapp:{PHONE}": ["Oi, sou eu", "de novo"],
        f"instagram:{IGSID}": ["no direct", "e aqui também"],
    }
    assert {turn.contact_id for turn in turns} == {known["contact_id"]}

    # No key of another form is kept anywhere.
    found = set()
    for column in await world.rows(KEYS):
        table, name = f"{column['table_schema']}.{column['table_name']}", column["column_name"]
        rows = await world.rows(
            f"select distinct {name} as key from {table} where organization_id = %s and {name} <> ''", organization_id
        )
        found |= {row["key"] for row in rows}
    assert found == {f"whatsapp:{PHONE}", f"instagram:{IGSID}"}
    for key in found:
        split_key(key)
