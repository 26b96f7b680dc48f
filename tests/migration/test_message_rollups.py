"""Messages that were there before figures were kept are counted by whoever migrates, and again after a way back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from sqlalchemy.engine import make_url

from chassis import migrate
from embedded.servers import embedded_servers
from tests.isolation.filling import named_url
from tests.migration.test_migrations import down_to

BEFORE = "conversation_0010"
FIGURES = """
select organization_id, quarter, channel_id, direction, count, failed_count from conversation.message_rollups
order by 1, 2, 3, 4
"""
COUNTED = """
select organization_id, date_bin('15 minutes', create_time, '2000-01-01T00:00:00Z'), channel_id, direction, count(*),
  count(*) filter (where state = 'FAILED')
from conversation.messages group by 1, 2, 3, 4 order by 1, 2, 3, 4
"""
MESSAGES = """
insert into conversation.messages (message_id, organization_id, conversation_id, channel_id, provider_message_id,
  create_time, record_time, cause_id, direction, author, state, provider_source_id, text, content_type, attachments,
  error_message, deleted, in_reply_to, author_name, content_time_us)
select gen_random_uuid(), (array[%(one)s, %(two)s]::uuid[])[1 + number %% 2], gen_random_uuid(), %(channel)s,
  number::text, timestamptz '2025-11-20T00:00:00Z' + number * interval '13 hours 7 minutes', now(), '',
  (array['INBOUND', 'OUTBOUND'])[1 + number %% 3 / 2], 'AGENT', (array['SENT', 'FAILED'])[1 + number %% 5 / 4], '', '',
  'text', '[]', '', false, '', '', 0
from generate_series(1, 200) number
"""


async def test_whoever_is_no_superuser_counts_every_message_and_can_count_again(tmp_path: Path) -> None:
    async with embedded_servers(tmp_path, durable=False) as fresh:
        with _connected(fresh.database_url) as admin:
            admin.execute("create role hosted_admin login createrole nosuperuser password 'hosted'")
            admin.execute("create database hosted owner hosted_admin")
        as_superuser = named_url(fresh.database_url, "hosted")
        as_owner = make_url(as_superuser).set(username="hosted_admin", password="hosted")
        url = as_owner.render_as_string(hide_password=False)
        await asyncio.to_thread(migrate.create_roles, url, {})
        await asyncio.to_thread(migrate.migrate_up, url)
        await asyncio.to_thread(down_to, url, "conversation", BEFORE)
        with _connected(as_superuser) as admin:
            # Months before the first partition, and months that nobody prepared.
            for month in range(1, 13):
                admin.execute("select conversation.ensure_message_month(make_date(2026, %s, 1)::timestamptz)", [month])
            admin.execute(MESSAGES, {"one": uuid4(), "two": uuid4(), "channel": uuid4()})
        await asyncio.to_thread(migrate.migrate_up, url, ["conversation"])
        with _connected(as_superuser) as admin:
            figures = admin.execute(FIGURES).fetchall()
            assert figures == admin.execute(COUNTED).fetchall()
            assert len({row[0] for row in figures}) == 2
            assert sum(row[4] for row in figures) == 200
            assert sum(row[5] for row in figures) == 40
            # A release that keeps no figures records on, and figures are counted anew afterwards.
            admin.execute(MESSAGES, {"one": uuid4(), "two": uuid4(), "channel": uuid4()})
            admin.execute("delete from conversation.message_rollups where direction = 'INBOUND'")
        await asyncio.to_thread(down_to, url, "conversation", "conversation_0011")
        await asyncio.to_thread(migrate.migrate_up, url, ["conversation"])
        with _connected(as_superuser) as admin:
            again = admin.execute(FIGURES).fetchall()
            assert again == admin.execute(COUNTED).fetchall()
            assert sum(row[4] for row in again) == 400
            assert admin.execute("select 1 from pg_policy where polname = 'migrating'").fetchall() == []


def _connected(url: str) -> psycopg.Connection[Any]:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True)
