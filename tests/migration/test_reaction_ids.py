"""Reactions that had one id of the provider keep all they say on the way down, and up again."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy.engine import make_url

from chassis import migrate
from tests.conftest import TEMPLATE
from tests.migration.conftest import NewDatabase

BEFORE = "conversation_0009"


@pytest.mark.case("F19")
async def test_reactions_under_one_id_survive_a_step_down_and_up(new_database: NewDatabase) -> None:
    url = await new_database(TEMPLATE)
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    organization_id, channel_id = uuid4(), uuid4()
    async with await psycopg.AsyncConnection.connect(plain, autocommit=True) as admin:
        for generation, text in enumerate(("👍", "😡", "🎉")):
            await admin.execute(
                "insert into conversation.message_reactions (organization_id, channel_id, provider_message_id,"
                " conversation_id, target_provider_message_id, direction, author, author_name, text, removed,"
                " create_time, cause_id, generation)"
                " values (%s, %s, '9007', %s, '1', 'INBOUND', 'CONTACT', '', %s, false, now(), '', %s)",
                [organization_id, channel_id, uuid4(), text, generation],
            )
    revision = ""
    while revision != BEFORE:
        (taken,) = await asyncio.to_thread(migrate.migrate_down, url, 1, ["conversation"])
        assert taken.current is not None
        revision = taken.current
    kept = "select provider_message_id, text from conversation.message_reactions where organization_id = %s order by 1"
    expected = [("9007", "👍"), ("9007~1", "😡"), ("9007~2", "🎉")]
    async with await psycopg.AsyncConnection.connect(plain, autocommit=True) as admin:
        assert await (await admin.execute(kept, [organization_id])).fetchall() == expected
    await asyncio.to_thread(migrate.migrate_up, url, ["conversation"])
    async with await psycopg.AsyncConnection.connect(plain, autocommit=True) as admin:
        assert await (await admin.execute(kept, [organization_id])).fetchall() == expected
