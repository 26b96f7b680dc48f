"""The store of identities and the four views of the seed, as their readers know them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest

from chassis.migrations import READER_ROLE
from tests.isolation.catalogue import Connection, connect, rows
from tests.isolation.parties import Filled
from tests.migration.conftest import NewDatabase
from tests.world import role_url

UUID, TEXT, INT, TIME, FLAG, JSON = "uuid", "text", "integer", "timestamp with time zone", "boolean", "jsonb"

VIEWS = {
    "messaging_contact_identities": {
        "id": UUID,
        "organization_id": UUID,
        "contact_id": UUID,
        "source": TEXT,
        "external_id": TEXT,
        "created_at": TIME,
        "updated_at": TIME,
    },
    "messaging_channel_configs": {
        "id": UUID,
        "organization_id": UUID,
        "chatwoot_base_url": TEXT,
        "chatwoot_api_token": TEXT,
        "chatwoot_account_id": INT,
        "chatwoot_inbox_id": INT,
        "wppconnect_base_url": TEXT,
        "wppconnect_token": TEXT,
        "wppconnect_session": TEXT,
        "channel_type": TEXT,
        "name": TEXT,
        "status": TEXT,
        "created_at": TIME,
        "updated_at": TIME,
    },
    "messaging_conversation_links": {
        "id": UUID,
        "organization_id": UUID,
        "chatwoot_conversation_id": INT,
        "chatwoot_contact_id": INT,
        "chatwoot_inbox_id": INT,
        "contact_id": UUID,
        "deal_id": UUID,
        "last_message_at": TIME,
        "last_message_preview": TEXT,
        "last_message_sender": TEXT,
        "status": TEXT,
        "unread_count": INT,
        "chatwoot_url": TEXT,
        "inbox_name": TEXT,
        "contact_name": TEXT,
        "contact_phone": TEXT,
        "contact_avatar_url": TEXT,
        "assigned_agent_id": INT,
        "assigned_agent_name": TEXT,
        "ai_enabled": FLAG,
        "handoff_reason": TEXT,
        "handoff_source": TEXT,
        "handoff_at": TIME,
        "created_at": TIME,
        "updated_at": TIME,
    },
    "messaging_identity_resolution_log": {
        "id": UUID,
        "organization_id": UUID,
        "source": TEXT,
        "external_id": TEXT,
        "action": TEXT,
        "contact_id": UUID,
        "identity_id": UUID,
        "metadata": JSON,
        "error_message": TEXT,
        "request_id": TEXT,
        "user_agent": TEXT,
        "created_at": TIME,
    },
}
"""The columns of the legacy tables that these views stand for, in their order."""

SECRETS = ("chatwoot_api_token", "wppconnect_token", "wppconnect_session")

WORDS: dict[tuple[str, str], set[str | None]] = {
    ("messaging_contact_identities", "source"): {"WHATSAPP", "INSTAGRAM"},
    ("messaging_channel_configs", "channel_type"): {"whatsapp", "instagram"},
    ("messaging_channel_configs", "status"): {"active", "inactive", "error"},
    ("messaging_conversation_links", "status"): {"open", "resolved", "pending"},
    ("messaging_conversation_links", "last_message_sender"): {"customer", "agent", None},
    ("messaging_identity_resolution_log", "action"): {
        "created",
        "matched",
        "fallback_phone",
        "fallback_email",
        "ambiguous",
        "not_found",
        "error",
    },
}
"""What the legacy readers expect to find in a column."""


@pytest.fixture
async def reader(new_database: NewDatabase, filled: Filled) -> AsyncIterator[Connection]:
    """Reads without a prefix, as checks on a machine of one's own do."""
    url = await new_database(filled.name)
    with connect(role_url(url, READER_ROLE.removeprefix("prosa_"))) as connection:
        yield connection


@pytest.mark.req("ID-01")
async def test_identities_are_unique_indexed_and_bound_to_their_organization(reader: Connection) -> None:
    table = "identity.contact_identities"
    unique = rows(
        reader,
        "select pg_get_constraintdef(oid) as rule from pg_constraint where conrelid = %s::regclass and contype = 'u'",
        table,
    )
    assert [row["rule"] for row in unique] == ["UNIQUE (organization_id, source, external_id)"]
    further = rows(
        reader,
        "select pg_get_indexdef(indexrelid) as line from pg_index where indrelid = %s::regclass"
        " and not indisprimary and not indisunique order by 1",
        table,
    )
    assert [row["line"].partition("USING btree ")[2] for row in further] == [
        "(organization_id, contact_id, contact_identity_id)",
        "(organization_id, source, contact_identity_id)",
    ]
    (security,) = rows(
        reader, "select relrowsecurity, relforcerowsecurity from pg_class where oid = %s::regclass", table
    )
    assert set(security.values()) == {True}
    policies = rows(reader, "select policyname from pg_policies where schemaname || '.' || tablename = %s", table)
    assert {row["policyname"] for row in policies} == {"organization", "reader"}
    checks = rows(
        reader,
        "select pg_get_constraintdef(oid) as rule from pg_constraint where conrelid = %s::regclass and contype = 'c'",
        table,
    )
    assert any("WHATSAPP" in row["rule"] and "INSTAGRAM" in row["rule"] for row in checks)


@pytest.mark.parametrize("view", VIEWS)
async def test_a_seed_view_has_the_columns_its_readers_know(reader: Connection, view: str) -> None:
    columns = rows(
        reader,
        "select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute"
        " where attrelid = %s::regclass and attnum > 0 order by attnum",
        view,
    )
    assert {row["name"]: row["type"] for row in columns} == VIEWS[view]
    assert rows(reader, f"select count(*) as found from {view}")[0]["found"] > 0


async def test_the_views_speak_the_words_of_their_readers(reader: Connection) -> None:
    for (view, column), words in WORDS.items():
        found = {row["value"] for row in rows(reader, f"select distinct {column} as value from {view}")}
        assert found
        assert found <= words, (view, column)


async def test_an_account_beyond_an_integer_is_left_out_and_hides_no_other_channel(
    new_database: NewDatabase, filled: Filled
) -> None:
    url = await new_database(filled.name)
    with connect(url) as admin, connect(role_url(url, READER_ROLE.removeprefix("prosa_"))) as reader:
        before = rows(reader, "select * from messaging_channel_configs order by id")
        (changed,) = rows(
            admin,
            "update ingest.connections set account_id = 2147483648 where id ="
            " (select connection_id from ingest.channels order by id limit 1) returning id",
        )
        of_it = {
            row["id"] for row in rows(admin, "select id from ingest.channels where connection_id = %s", changed["id"])
        }
        after = rows(reader, "select * from messaging_channel_configs order by id")
    assert of_it
    assert after == [row | ({"chatwoot_account_id": None} if row["id"] in of_it else {}) for row in before]


async def test_no_view_shows_a_secret(reader: Connection) -> None:
    for column in SECRETS:
        assert rows(reader, f"select 1 from messaging_channel_configs where {column} is not null") == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute("select password_hash from identity.users")


async def test_a_view_leads_to_what_its_rows_are_about(reader: Connection, filled: Filled) -> None:
    """The three queries with which the legacy checks follow one message."""
    organization_id = filled.a.organization_id
    log, identities, links = (
        rows(
            reader,
            f"select * from {view} where organization_id = %s order by created_at desc limit 30",
            organization_id,
        )
        for view in (
            "messaging_identity_resolution_log",
            "messaging_contact_identities",
            "messaging_conversation_links",
        )
    )
    known = {row["id"] for row in identities}
    assert {row["identity_id"] for row in log if row["identity_id"]} <= known
    contacts = {row["contact_id"] for row in identities}
    assert any(row["contact_id"] in contacts and row["deal_id"] for row in links)
