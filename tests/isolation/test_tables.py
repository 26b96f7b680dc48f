"""Every table, as the services' own roles see it: what belongs to another organization is not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from psycopg import errors

from chassis.migrations import READER_ROLE, VERSION_TABLES, owner, role
from chassis.system import SERVICES
from tests.isolation.catalogue import (
    BY_MEMBERSHIP,
    SCHEMAS,
    Connection,
    Table,
    connect,
    connect_as,
    functions,
    of_service,
    owner_policies,
    partitions,
    relations,
    rows,
    service_policies,
    tables_of_organizations,
)
from tests.isolation.parties import Filled
from tests.isolation.table_leaks import leaks, own_hand, seen_without_organization, set_organizations
from tests.world import role_url

TECHNICAL_TABLES = {
    "alembic_version": "where the schema's migrations stand",
    "chassis_version": "where those of the tables that every schema has stand",
    "consumer_cursors": "how far a consumer has read a stream",
    "expiring_tables": "which tables are swept",
    "global_kill": "whether the operator has stopped sending for everybody",
    "key_fingerprints": "by which keys of secrets are known again",
    "leases": "what may run only once",
    "partitioned_tables": "which tables are partitioned",
    "relay_state": "how far the stream has come",
    "sign_in_attempts": "attempts to sign in by a hash of e-mail and network",
    "sign_in_failures": "failed sign-ins by a hash of the e-mail, for processes of the release before",
}
"""The tables of which no row belongs to an organization, and what they hold."""

POSITIONS = "TABLE(pending_position bigint, pending_organization_id uuid, pending_event_time timestamp with time zone)"


def queue_functions(queue: str, *, timed: bool = False, shared: bool = False) -> dict[str, str]:
    """What may look into a queue: which items are due, and what must be known to hand them out. A key is an id too."""
    next_time = {f"{queue}_next": "timestamp with time zone"} if timed else {}
    pending = (
        "TABLE(pending_sequence bigint, pending_lane smallint, pending_key text, pending_item_id uuid,"
        " pending_put_time timestamp with time zone, pending_organization_id uuid, pending_attempt_count integer)"
    )
    share = {f"{queue}_shared": pending} if shared else {}
    return (
        next_time
        | share
        | {
            f"{queue}_pending": pending,
            f"{queue}_waiting": "TABLE(waiting_count bigint, oldest_due_time timestamp with time zone)",
        }
    )


DEFINER_FUNCTIONS = {
    **{f"{service}.outbox_pending": POSITIONS for service in SERVICES},
    **{f"{service}.outbox_requeue": "bigint" for service in SERVICES},
    **{f"{service}.maintain": "void" for service in SERVICES},
    # Why nothing was dropped, as one of two words.
    **{f"{service}.upkeep": "text" for service in SERVICES},
    **{f"{service}.upkeep_refused": "text" for service in SERVICES},
    **{f"{service}.make_partitions": "void" for service in SERVICES},
    # The partition that went, by its first day.
    **{f"{service}.drop_expired": "text" for service in SERVICES},
    **{f"{service}.sweep": "boolean" for service in SERVICES},
    **{f"{service}.installation_id": "uuid" for service in SERVICES},
    "identity.organization_by_name": "uuid",
    "identity.organization_page": "SETOF uuid",
    "identity.user_by_email": "uuid",
    "identity.organizations_of_user": "SETOF uuid",
    "identity.api_key_by_hash": "TABLE(found_organization_id uuid, found_api_key_id uuid)",
    "identity.invitation_by_secret": "TABLE(found_organization_id uuid, found_invitation_id uuid)",
    "identity.session_by_secret": "TABLE(found_organization_id uuid, found_session_id uuid)",
    # A principal is an id with its kind before it: "key:<id>".
    "identity.revoked_since": "TABLE(revoked_principal text, revoked_time timestamp with time zone)",
    "ingest.connection_by_key": "TABLE(found_connection_id uuid, found_organization_id uuid)",
    "ingest.connections_by_account": (
        "TABLE(found_connection_id uuid, found_organization_id uuid, found_channel_id uuid)"
    ),
    "ingest.connections_of_accounts": (
        "TABLE(found_account_id bigint, found_connection_id uuid, found_organization_id uuid)"
    ),
    "ingest.connections_sharing": "TABLE(found_connection_id uuid)",
    "ingest.webhooks_pending": "TABLE(pending_sequence bigint, pending_event_id uuid, pending_organization_id uuid)",
    "ingest.webhooks_waiting": "TABLE(waiting_count bigint, oldest_receive_time timestamp with time zone)",
    **queue_functions("ingest.webhook_queue"),
    **queue_functions("ingest.outbound_queue", timed=True, shared=True),
    **queue_functions("ingest.account_queue"),
    **queue_functions("ingest.health_queue", timed=True),
    **queue_functions("conversation.delivery_queue", timed=True, shared=True),
    **queue_functions("conversation.script_queue", timed=True),
    **queue_functions("conversation.round_queue", timed=True),
    **queue_functions("conversation.turn_queue", timed=True, shared=True),
    **queue_functions("conversation.provider_write_queue", shared=True),
    **queue_functions("ingest.instance_queue"),
    **queue_functions("conversation.instance_queue", timed=True, shared=True),
    "ingest.feed_first_position": "bigint",
    "conversation.ensure_message_month": "void",
    **queue_functions("outreach.import_queue"),
    **queue_functions("outreach.touch_queue", timed=True),
    "outreach.open_reservations": (
        "TABLE(open_id uuid, open_organization_id uuid, open_delivery_id uuid, open_attempt integer,"
        " open_create_time timestamp with time zone)"
    ),
}
"""All that may look before an organization is known, and what each answers: ids, positions and times."""

TRIGGER_FUNCTIONS = {
    "conversation.follow_activity": "trigger",
    "identity.keep_former_username": "trigger",
    "ingest.key_channel": "trigger",
}
"""What runs with the rights of whoever writes, who sees no other organization's rows."""


@pytest.fixture(scope="module")
def admin(database_url: str) -> Iterator[Connection]:
    """Sees everything."""
    with connect(database_url) as connection:
        yield connection


@pytest.fixture(scope="module")
def services(database_url: str) -> Iterator[dict[str, Connection]]:
    """A connection as each service's own role."""
    with ExitStack() as stack:
        yield {service: stack.enter_context(connect_as(database_url, service)) for service in SERVICES}


@pytest.fixture(scope="module")
def tables(admin: Connection, filled: Filled) -> list[Table]:
    """Every table and view that holds rows of organizations, by the catalogue."""
    return tables_of_organizations(admin, filled)


async def test_every_table_has_an_organization_or_is_technical(admin: Connection) -> None:
    without = {name for name, (_, has_organization) in relations(admin).items() if not has_organization}
    unexplained = {name for name in without - BY_MEMBERSHIP if name.partition(".")[2] not in TECHNICAL_TABLES}
    assert unexplained == set()
    assert {name.partition(".")[2] for name in without - BY_MEMBERSHIP} == set(TECHNICAL_TABLES)


async def test_organization_a_has_rows_everywhere_and_full_use_of_them(
    services: dict[str, Connection], admin: Connection, tables: list[Table], filled: Filled
) -> None:
    missing = {str(table): own_hand(services[table.service], admin, table, filled) for table in tables}
    assert {name: sentences for name, sentences in missing.items() if sentences} == {}
    assert len(tables) > 40


@pytest.mark.req("ID-12", "ID-16")
async def test_organization_b_reads_and_changes_none_of_a_s_rows(
    services: dict[str, Connection], admin: Connection, tables: list[Table], filled: Filled
) -> None:
    found = {str(table): leaks(services[table.service], admin, table, filled) for table in tables}
    assert {name: sentences for name, sentences in found.items() if sentences} == {}


async def test_without_an_organization_nothing_is_there(database_url: str, tables: list[Table], filled: Filled) -> None:
    found: dict[str, list[str]] = {}
    for service in SERVICES:
        with connect_as(database_url, service) as connection:
            for state in ("never set", "set and emptied", "emptied for the session"):
                if state == "set and emptied":
                    with connection.transaction():
                        set_organizations(connection, filled.a.organization_id)
                    (row,) = rows(connection, "select current_setting('app.organization_ids', true) as value")
                    assert row["value"] == ""
                elif state == "emptied for the session":
                    connection.execute("set app.organization_ids = ''")
                for table in of_service(tables, service):
                    if sentences := seen_without_organization(connection, table):
                        found[f"{table}, {state}"] = sentences
    assert found == {}


async def test_row_level_security_is_forced_on_every_table(admin: Connection, tables: list[Table]) -> None:
    forced = {
        row["name"]
        for row in rows(
            admin,
            "select oid::regclass::text as name from pg_class where relrowsecurity and relforcerowsecurity"
            " and relnamespace::regnamespace::text = any (%s)",
            SCHEMAS,
        )
    }
    assert {str(table) for table in tables if not table.view} == forced


async def test_every_view_reads_with_the_rights_of_who_asks(admin: Connection, tables: list[Table]) -> None:
    invoking = {
        row["name"]
        for row in rows(
            admin,
            "select oid::regclass::text as name from pg_class where relkind = 'v'"
            " and relnamespace::regnamespace::text = any (%s) and reloptions @> '{security_invoker=true}'",
            SCHEMAS,
        )
    }
    views = {str(table) for table in tables if table.view}
    assert views
    assert {name for name, (kind, _) in relations(admin).items() if kind not in "rp"} == views == invoking


async def test_a_service_enters_no_other_s_schema(admin: Connection, services: dict[str, Connection]) -> None:
    for service, connection in services.items():
        for name in relations(admin):
            schema = name.partition(".")[0]
            if schema != service:
                with pytest.raises(errors.InsufficientPrivilege):
                    connection.execute(f"select 1 from {name}".encode())
    granted = rows(
        admin,
        "select service, schema from unnest(%s::text[]) as service, unnest(%s::text[]) as schema"
        " where service <> schema and (has_schema_privilege('prosa_' || service, schema, 'usage')"
        " or has_schema_privilege('prosa_' || service || '_owner', schema, 'usage'))",
        SCHEMAS,
        SCHEMAS,
    )
    assert granted == []


async def test_partitions_are_read_through_their_table_only(admin: Connection, services: dict[str, Connection]) -> None:
    names = partitions(admin)
    assert {name.partition(".")[0] for name in names} == set(SERVICES)
    for name in names:
        for statement in (f"select 1 from {name}", f"delete from {name}"):
            with pytest.raises(errors.InsufficientPrivilege):
                services[name.partition(".")[0]].execute(statement.encode())


async def test_a_service_s_role_is_bound_by_every_rule(admin: Connection) -> None:
    found = rows(
        admin,
        "select rolname, rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication as powers,"
        " rolcanlogin, array(select roleid::regrole::text from pg_auth_members where member = pg_roles.oid)"
        " as member_of from pg_roles where rolname ~ '^prosa_'",
    )
    by_name = {row["rolname"]: row for row in found}
    assert set(by_name) == {READER_ROLE, *map(role, SERVICES), *map(owner, SERVICES)}
    assert [row["rolname"] for row in found if row["powers"] or row["member_of"]] == []
    assert [name for name in map(owner, SERVICES) if by_name[name]["rolcanlogin"]] == []
    makers = rows(
        admin,
        "select schema from unnest(%s::text[]) as schema"
        " where has_schema_privilege('prosa_' || schema, schema, 'create')"
        " or has_schema_privilege('prosa_' || schema, 'public', 'create')",
        SCHEMAS,
    )
    assert makers == []


async def test_the_functions_that_look_across_organizations_are_those_on_the_list(admin: Connection) -> None:
    found = functions(admin)
    assert {row["name"]: row["result"] for row in found if row["definer"]} == DEFINER_FUNCTIONS
    assert {row["name"]: row["result"] for row in found if not row["definer"]} == TRIGGER_FUNCTIONS
    for row in found:
        assert row["owner"] == owner(row["schema"]), row
        assert "search_path=pg_catalog" in row["settings"], row


async def test_look_up_functions_serve_their_own_service_alone(admin: Connection) -> None:
    everybody = [*map(role, SERVICES), *map(owner, SERVICES), READER_ROLE]
    for row in functions(admin):
        allowed = rows(
            admin,
            "select name from unnest(%s::text[]) as name where has_function_privilege(name, %s, 'execute')",
            everybody,
            row["signature"],
        )
        assert {entry["name"] for entry in allowed} == {role(row["schema"]), owner(row["schema"])}, row
    public = rows(
        admin,
        "select oid::regprocedure::text as name from pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner)))"
        " where grantee = 0 and pronamespace::regnamespace::text = any (%s)",
        SCHEMAS,
    )
    assert public == []


async def test_owners_look_only_where_their_functions_do(admin: Connection) -> None:
    swept = {
        f"{service}.{row['table_name']}"
        for service in SERVICES
        for row in rows(admin, f"select table_name from {service}.expiring_tables")
    }
    found = owner_policies(admin)
    assert found
    assert [row for row in found if row["cmd"] == "ALL" or not (row["looked_up"] or row["name"] in swept)] == []


async def test_nobody_else_was_given_anything(admin: Connection) -> None:
    given = rows(
        admin,
        "select oid::regclass::text as name, pg_get_userbyid(grantee) as role, grantee = 0 as everybody"
        " from pg_class, aclexplode(relacl) where relnamespace::regnamespace::text = any (%s)",
        SCHEMAS,
    )
    strangers = [
        row
        for row in given
        if row["everybody"]
        or (
            row["role"] not in (READER_ROLE, role(row["name"].partition(".")[0]), owner(row["name"].partition(".")[0]))
            and not row["name"].endswith(VERSION_TABLES)
        )
    ]
    assert strangers == []


async def test_the_reader_reads_all_and_writes_nothing(database_url: str, admin: Connection) -> None:
    url = role_url(database_url, "reader")
    with connect(url) as reader:
        for name, (kind, _) in relations(admin).items():
            writes = rows(
                admin,
                "select has_table_privilege(%s, %s, 'insert, update, delete, truncate') as any",
                READER_ROLE,
                name,
            )
            assert writes == [{"any": False}], name
            if name.endswith(VERSION_TABLES):
                continue
            query = f"select count(*) as found from {name}"
            assert rows(reader, query) == rows(admin, query), name
            if kind != "v":
                with pytest.raises(errors.InsufficientPrivilege):
                    reader.execute(f"delete from {name}".encode())
        for row in functions(admin):
            (allowed,) = rows(
                admin, "select has_function_privilege(%s, %s, 'execute') as yes", READER_ROLE, row["signature"]
            )
            assert not allowed["yes"], row
        (settings,) = rows(reader, "show search_path")
        assert [name.strip() for name in settings["search_path"].split(",")] == SCHEMAS


@pytest.mark.req("ID-12")
async def test_the_cases_of_a_table_turn_red_when_its_policy_is_opened(
    database_url: str, services: dict[str, Connection], admin: Connection, tables: list[Table], filled: Filled
) -> None:
    by_name = {str(table): table for table in tables}
    policies = service_policies(admin)
    assert {f"{policy.service}.{policy.table}" for policy in policies} == {
        str(table) for table in tables if not table.view
    }
    unnoticed = []
    for policy in policies:
        table = by_name[f"{policy.service}.{policy.table}"]
        check = policy.check or policy.using
        for using, check_now in (("true", check), (policy.using, "true"), ("true", "true")):
            _alter(admin, table, policy.name, using, check_now)
            try:
                if not leaks(services[table.service], admin, table, filled):
                    unnoticed.append(f"{table}: using ({using}) with check ({check_now})")
                if using == "true" and not seen_without_organization(services[table.service], table):
                    unnoticed.append(f"{table}: using ({using}), without an organization")
            finally:
                _alter(admin, table, policy.name, policy.using, check)
        assert leaks(services[table.service], admin, table, filled) == []
    assert unnoticed == []


def _alter(admin: Connection, table: Table, policy: str, using: str, check: str) -> None:
    admin.execute(f'alter policy "{policy}" on {table} using ({using}) with check ({check})'.encode())
