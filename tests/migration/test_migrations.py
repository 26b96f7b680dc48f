"""Migrations: up, down and up again, on an empty database and on one that is at work, and two side by side."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine, make_url

from chassis import descent, migrate
from chassis.clock import SystemClock
from chassis.ids import Uuid7Ids
from chassis.lines import MOVED, chassis_versions, folder, known_versions
from chassis.migrations import READER_ROLE, VERSION_TABLES, owner, role
from chassis.system import SERVICES
from embedded.servers import embedded_servers
from tests.conftest import create_database
from tests.isolation.catalogue import connect, partitions, relations, rows
from tests.isolation.filling import named_url
from tests.isolation.parties import Filled
from tests.migration.conftest import NewDatabase

ROOT = Path(__file__).resolve().parent.parent.parent
SQUAWK = Path(sys.executable).with_name("squawk")
PROCESS_SECONDS = 60.0
WAITING = "select count(*) as found from pg_locks where locktype = 'advisory' and not granted"
ACCEPTED = (
    "require-lock-timeout",
    "require-statement-timeout",  # both are set on the connection that migrates
    "prefer-robust-stmts",  # a revision that fails is taken back, or begins with taking back
)
"""What the linter need not say."""


def row_counts(url: str) -> dict[str, int]:
    """How many rows every table and view of the five schemas has."""
    with connect(url) as admin:
        return {
            name: rows(admin, f"select count(*) as found from {name}")[0]["found"]
            for name in relations(admin)
            if not name.endswith(VERSION_TABLES)
        }


def structure(url: str) -> dict[str, list[str]]:
    """What the schemas are made of but for partitions, which follow the rows; with what upkeep goes by."""
    with connect(url) as admin:
        made = {kind: [row["line"] for row in rows(admin, query, list(SERVICES))] for kind, query in _STRUCTURE.items()}
        registers = [name for name in relations(admin) if name.partition(".")[2] in REGISTERS]
        made["registers"] = [
            row["line"]
            for name in registers
            for row in rows(admin, f"select '{name} ' || kept::text as line from {name} kept order by 1")
        ]
        return made


REGISTERS = ("partitioned_tables", "expiring_tables")
"""Their rows come from migrations alone, and say what is kept for how long."""


_STRUCTURE = {
    "columns": """
        select format('%%s.%%s %%s %%s %%s', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull,
          pg_get_expr(adbin, adrelid)) as line
        from pg_attribute join pg_class on pg_class.oid = attrelid
        left join pg_attrdef on adrelid = attrelid and adnum = attnum
        where relnamespace::regnamespace::text = any (%s) and attnum > 0 and not attisdropped
          and relkind in ('r', 'p', 'v') and not relispartition order by 1""",
    "tables": """
        select format('%%s %%s %%s %%s %%s %%s', oid::regclass, relkind, pg_get_userbyid(relowner), relrowsecurity,
          relforcerowsecurity, array(select unnest(relacl)::text order by 1)) as line
        from pg_class where relnamespace::regnamespace::text = any (%s) and relkind in ('r', 'p', 'v')
          and not relispartition order by 1""",
    "constraints": """
        select format('%%s %%s %%s', conrelid::regclass, conname, pg_get_constraintdef(pg_constraint.oid)) as line
        from pg_constraint join pg_class on pg_class.oid = conrelid
        where connamespace::regnamespace::text = any (%s) and not relispartition order by 1""",
    "indexes": """
        select pg_get_indexdef(indexrelid) || ' ' || indisvalid as line
        from pg_index join pg_class on pg_class.oid = indrelid
        where relnamespace::regnamespace::text = any (%s) and not relispartition order by 1""",
    "policies": """
        select format('%%s.%%s %%s %%s %%s %%s %%s', schemaname, tablename, policyname, roles, cmd, qual, with_check)
          as line from pg_policies where schemaname = any (%s) order by 1""",
    "functions": """
        select format('%%s %%s %%s %%s', pg_get_functiondef(oid), pg_get_userbyid(proowner), proconfig,
          array(select unnest(proacl)::text order by 1)) as line
        from pg_proc where pronamespace::regnamespace::text = any (%s) order by 1""",
    "views": """
        select format('%%s.%%s %%s', schemaname, viewname, definition) as line
        from pg_views where schemaname = any (%s) order by 1""",
    "triggers": """
        select pg_get_triggerdef(pg_trigger.oid) as line from pg_trigger join pg_class on pg_class.oid = tgrelid
        where relnamespace::regnamespace::text = any (%s) and not tgisinternal and not relispartition order by 1""",
    "schemas": """
        select format('%%s %%s', nspname,
          array(select unnest(coalesce(nspacl, acldefault('n', nspowner)))::text order by 1)) as line
        from pg_namespace where nspname = any (%s || array['chassis']) order by 1""",
}


def installation_ids(url: str) -> list[UUID]:
    """The ids a database holds, which should be one."""
    with connect(url) as admin:
        return [row["installation_id"] for row in rows(admin, "select installation_id from chassis.installation")]


def one_step_up(url: str, service: str, *, chassis: bool = False) -> str:
    """Applies the next version of a service's line, or of the chassis' in its schema; answers where it stands then."""
    with migrate.connected(url) as connection:
        if chassis:
            migrate.chassis_up(service, connection, "+1")
        else:
            migrate.upgrade(service, connection, "+1")
        return migrate.current_revision(service, connection, chassis=chassis)


def chassis_up(url: str, service: str) -> None:
    """Makes the schema, with the tables that every service has."""
    with migrate.connected(url) as connection:
        migrate.chassis_up(service, connection)


def down_to(url: str, service: str, version: str, lock_timeout: str = migrate.LOCK_TIMEOUT) -> None:
    """Takes the line that the version is of back to it."""
    with migrate.connected(url, lock_timeout) as connection:
        migrate.downgrade(service, version, connection)


@pytest.mark.req("ID-16")
@pytest.mark.parametrize("service", SERVICES)
async def test_a_database_of_the_release_before_is_found_on_both_lines_and_goes_down_to_what_it_knows(
    new_database: NewDatabase, filled: Filled, service: str
) -> None:
    """It holds the chassis' tables, and nothing says of which version they are."""
    url, older = await new_database(filled.name), await new_database(filled.name)
    first, counts = structure(url), row_counts(url)
    (way,) = await asyncio.to_thread(
        descent.plan, older, len(known_versions(service)) + len(chassis_versions()), [service]
    )
    assert way.targets == (descent.OLDEST_SUPPORTED[service], descent.OLDEST_CHASSIS)
    await asyncio.to_thread(descent.migrate_to, older, [way])
    for at in (url, older):
        stands = migrate.revisions(at, [service])[0]
        if at == url:
            # The last that was released without a line of the chassis' own; a service's own steps are taken back first.
            down_to(at, service, max(MOVED[service]))
            down_to(at, service, max(MOVED[service].values()))
            stands = migrate.revisions(at, [service])[0]
        with connect(at) as admin:
            admin.execute(f"drop table {service}.chassis_version".encode())
        assert migrate.revisions(at, [service])[0].chassis == ""
        assert await asyncio.to_thread(_adopted, at, service) == stands.chassis
        await asyncio.to_thread(migrate.migrate_up, at)
        assert structure(at) == first
    assert row_counts(url).keys() == counts.keys()


def _adopted(url: str, service: str) -> str:
    """Where the chassis' tables are said to stand by who has only looked."""
    with migrate.connected(url) as connection:
        migrate._adopt(service, connection)
        return migrate.current_revision(service, connection, chassis=True)


@pytest.mark.req("ID-16")
async def test_an_empty_database_goes_up_one_down_and_up_again(new_database: NewDatabase) -> None:
    url = await new_database(None)
    applied = await asyncio.to_thread(migrate.migrate_up, url)
    assert [revision.service for revision in applied if not revision.up_to_date] == []
    first = structure(url)
    assert all(first.values())
    lower = await asyncio.to_thread(migrate.migrate_down, url, 1)
    assert [revision.service for revision in lower if revision.up_to_date or not revision.current] == []
    await asyncio.to_thread(migrate.migrate_up, url)
    assert structure(url) == first


@pytest.mark.req("ID-11")
async def test_a_database_at_work_goes_one_down_and_up_again_and_keeps_every_row(
    new_database: NewDatabase, filled: Filled
) -> None:
    url, bare = await new_database(filled.name), await new_database(None)
    with connect(url) as admin:
        # As a process of the release before does, which counts failed sign-ins here.
        admin.execute("insert into identity.sign_in_failures values ('\\x5a', 1, now())")
    counts, first = row_counts(url), structure(url)
    # The switch for all organizations has a row once somebody has used it.
    assert [name for name, found in counts.items() if not found and name != "outreach.global_kill"] == []
    assert [revision.service for revision in migrate.revisions(url) if not revision.up_to_date] == []
    lower = await asyncio.to_thread(migrate.migrate_down, url, 1)
    assert [revision.service for revision in lower if revision.up_to_date] == []
    # Without what the last revisions themselves brought: the tables that stood before, with every row.
    await asyncio.to_thread(_migrate_short_of_the_last, bare)
    # What a revision registers goes with it, and is compared below.
    left = {name: found for name, found in row_counts(url).items() if name.partition(".")[2] not in REGISTERS}
    assert left == {name: counts[name] for name in row_counts(bare) if name in left}
    await asyncio.to_thread(migrate.migrate_up, url)
    again = row_counts(url)
    assert {name: again[name] for name in left} == left
    assert structure(url) == first


def _migrate_short_of_the_last(url: str) -> None:
    """Brings an empty database up by every revision but each service's last."""
    migrate.migrate_up(url, [])
    for service in SERVICES:
        chassis_up(url, service)
        for _ in known_versions(service)[1:]:
            one_step_up(url, service)


async def test_a_database_goes_all_the_way_down_and_up_again(new_database: NewDatabase, filled: Filled) -> None:
    url = await new_database(filled.name)
    first = structure(url)
    deepest = max(len(known_versions(service)) for service in SERVICES)
    emptied = await asyncio.to_thread(migrate.migrate_down, url, deepest + 3)
    assert {revision.current for revision in emptied} == {""}
    with connect(url) as admin:
        assert {name.partition(".")[2] for name in relations(admin)} == set(VERSION_TABLES)
        assert partitions(admin) == []
    await asyncio.to_thread(migrate.migrate_up, url)
    again = structure(url)
    assert {kind for kind in first if again[kind] != first[kind]} == set()


async def test_the_order_of_conversations_is_filled_in_for_those_that_are_there(
    new_database: NewDatabase, filled: Filled
) -> None:
    url = await new_database(filled.name)
    many = 12_000
    """More than are filled in at a time."""
    await asyncio.to_thread(migrate.migrate_down, url, len(known_versions("conversation")) - 3, ["conversation"])
    with connect(url) as admin:
        admin.execute(
            f"""
            insert into conversation.conversations
            select (jsonb_populate_record(kept, jsonb_build_object('conversation_id', gen_random_uuid(),
              'provider_conversation_id', (1000000 + number)::text,
              'activity_time', (kept).activity_time + make_interval(secs => number)))).*
            from (select kept from conversation.conversations kept limit 1) sample, generate_series(1, {many}) as number
            """.encode()
        )
    await asyncio.to_thread(migrate.migrate_up, url, ["conversation"])
    columns = "organization_id, state, activity_time, conversation_id"
    orders = [
        f"select {columns} from conversation.{table} order by conversation_id"
        for table in ("conversations", "conversation_activity")
    ]
    with connect(url) as admin:
        conversations, activity = (rows(admin, order) for order in orders)
        assert len(conversations) > many
        assert activity == conversations
        admin.execute("delete from conversation.conversation_activity where extract(second from activity_time) < 30")
    # Where it was interrupted it is gone over once more.
    await asyncio.to_thread(migrate.migrate_down, url, len(known_versions("conversation")) - 4, ["conversation"])
    await asyncio.to_thread(migrate.migrate_up, url, ["conversation"])
    with connect(url) as admin:
        assert rows(admin, orders[1]) == conversations


async def test_going_down_keeps_what_had_an_id_after_something_else(new_database: NewDatabase, filled: Filled) -> None:
    url = await new_database(filled.name)
    kept = {"conversations": "provider_conversation_id", "message_keys": "provider_message_id"}
    with connect(url) as admin:
        for table in kept:
            admin.execute(
                f"""
                insert into conversation.{table}
                select (jsonb_populate_record(one, '{{"generation": 1, "conversation_id": "{uuid4()}"}}')).*
                from conversation.{table} one limit 1
                """.encode()
            )
    counts = row_counts(url)
    await asyncio.to_thread(migrate.migrate_down, url, len(known_versions("conversation")) - 8, ["conversation"])
    left = row_counts(url)
    # Without what later revisions brought, and where it is noted which of it expires.
    unchanged = left.keys() - {"conversation.expiring_tables"}
    assert {name: left[name] for name in unchanged} == {name: counts[name] for name in unchanged}
    with connect(url) as admin:
        for table, named in kept.items():
            found = rows(admin, f"select {named} as id from conversation.{table} where {named} like '%~1'")
            assert len(found) == 1
    await asyncio.to_thread(migrate.migrate_up, url, ["conversation"])
    assert {name: found for name, found in row_counts(url).items() if name in unchanged} == {
        name: counts[name] for name in unchanged
    }


async def test_going_up_twice_changes_nothing(new_database: NewDatabase, filled: Filled) -> None:
    url = await new_database(filled.name)
    counts, first = row_counts(url), structure(url)
    await asyncio.to_thread(migrate.migrate_up, url)
    assert (row_counts(url), structure(url)) == (counts, first)


async def test_an_installation_s_id_is_drawn_once_and_stays_when_all_else_is_taken_back(
    new_database: NewDatabase,
) -> None:
    url = await new_database(None)
    ids = Uuid7Ids(SystemClock(), lambda count: b"\x5a" * count)
    before = ids.new()
    await asyncio.to_thread(migrate.migrate_up, url, ids=ids)
    after = ids.new()
    (drawn,) = installation_ids(url)
    assert before < drawn < after
    await asyncio.to_thread(migrate.migrate_up, url)
    assert installation_ids(url) == [drawn]
    await asyncio.to_thread(migrate.migrate_down, url, max(len(known_versions(service)) for service in SERVICES))
    assert installation_ids(url) == [drawn]
    await asyncio.to_thread(migrate.migrate_up, url)
    assert installation_ids(url) == [drawn]


async def test_a_check_tells_what_is_missing(new_database: NewDatabase) -> None:
    url = await new_database(None)
    assert {revision.up_to_date for revision in migrate.revisions(url)} == {False}
    assert {revision.current for revision in migrate.revisions(url)} == {""}
    await asyncio.to_thread(migrate.migrate_up, url, ["crm"])
    standing = {revision.service: revision.up_to_date for revision in migrate.revisions(url)}
    assert standing == {service: service == "crm" for service in SERVICES}


async def test_two_databases_are_migrated_side_by_side_in_one_process(new_database: NewDatabase) -> None:
    urls = [await new_database(None) for _ in range(2)]
    await asyncio.gather(*(asyncio.to_thread(migrate.migrate_up, url) for url in urls))
    assert structure(urls[0]) == structure(urls[1])
    await asyncio.gather(*(asyncio.to_thread(migrate.migrate_down, url, 1) for url in urls))
    assert structure(urls[0]) == structure(urls[1])


async def _migrating_process(url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cli.main",
        "migrate",
        env=os.environ | {"PROSA_DATABASE_URL": url, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def test_two_databases_of_a_new_server_are_migrated_side_by_side_and_roles_are_made_once(tmp_path: Path) -> None:
    async with embedded_servers(tmp_path, durable=False) as fresh:
        names = ["first", "second"]
        for name in names:
            await create_database(fresh.database_url, name)
        urls = [named_url(fresh.database_url, name) for name in names]
        with connect(named_url(fresh.database_url, migrate.MAINTENANCE_DATABASE)) as holder:
            # Both reach the roles before either may make them.
            holder.execute("select pg_advisory_lock(%s)", [migrate.ROLES_LOCK])
            commands = [await _migrating_process(url) for url in urls]
            async with asyncio.timeout(PROCESS_SECONDS):
                while True:
                    if rows(holder, WAITING) == [{"found": len(commands)}]:
                        break
                    await asyncio.sleep(0.02)
        outputs = [(await command.communicate())[0].decode() for command in commands]
        assert [command.returncode for command in commands] == [0, 0], outputs
        assert structure(urls[0]) == structure(urls[1])
        assert len({*installation_ids(urls[0]), *installation_ids(urls[1])}) == len(urls)
        with connect(fresh.database_url) as admin:
            found = rows(admin, "select rolname from pg_roles where rolname ~ '^prosa_' order by 1")
        wanted = [READER_ROLE, *map(role, SERVICES), *map(owner, SERVICES)]
        assert [row["rolname"] for row in found] == sorted(wanted)


async def test_whoever_is_no_superuser_goes_up_and_down_and_reaches_every_row(tmp_path: Path) -> None:
    """PROSA_DATABASE_URL needs no more than to make schemas and roles; forced row-level security binds its role."""
    name, organization_id, connection_id = "hosted", uuid4(), uuid4()
    async with embedded_servers(tmp_path, durable=False) as fresh:
        with connect(fresh.database_url) as admin:
            admin.execute("create role hosted_admin login createrole nosuperuser password 'hosted'")
            admin.execute("create database hosted owner hosted_admin")
        as_superuser = named_url(fresh.database_url, name)
        as_admin = make_url(as_superuser).set(username="hosted_admin", password="hosted")
        url = as_admin.render_as_string(hide_password=False)
        await asyncio.to_thread(migrate.create_roles, url, {})
        await asyncio.to_thread(migrate.migrate_up, url)
        # To before connections had an end of what is not signed.
        await asyncio.to_thread(migrate.migrate_down, url, len(known_versions("ingest")) - 8, ["ingest"])
        with connect(as_superuser) as admin:
            admin.execute(
                "insert into ingest.connections (id, organization_id, provider, name, connection_key, account_id,"
                " base_url, create_time) values (%s, %s, 'CHATWOOT', 'Old', 'old', 1, '',"
                " now() - interval '90 days')",
                [connection_id, organization_id],
            )
        await asyncio.to_thread(migrate.migrate_up, url)
        with connect(as_superuser) as admin:
            (kept,) = rows(
                admin, "select unsigned_end_time > now() + interval '29 days' as open from ingest.connections"
            )
            assert kept == {"open": True}
            assert rows(admin, "select polname from pg_policy where polname = 'migrating'") == []
        deepest = max(len(known_versions(service)) for service in SERVICES)
        emptied = await asyncio.to_thread(migrate.migrate_down, url, deepest)
        assert {revision.current for revision in emptied} == {""}


async def test_a_migration_does_not_wait_for_ever(new_database: NewDatabase) -> None:
    url = await new_database(None)
    await asyncio.to_thread(migrate.migrate_up, url)
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as holder:
        holder.execute("lock table crm.consumed_events in access exclusive mode")
        with pytest.raises(Exception, match="lock timeout"):
            # The index on that table is the second version of the chassis' line.
            await asyncio.to_thread(down_to, url, "crm", "chassis_0001", "100ms")
        holder.rollback()
    lower = await asyncio.to_thread(migrate.migrate_down, url, 1, ["crm"])
    assert [revision.up_to_date for revision in lower] == [False]


def test_every_revision_says_its_place_its_phase_and_its_way_back() -> None:
    for service in SERVICES:
        for chassis, known in ((False, known_versions(service)), (True, chassis_versions())):
            assert [version[-4:] for version in known] == [f"{place + 1:04d}" for place in range(len(known))], service
            names = [path.stem for path in folder(service, chassis=chassis).glob("[0-9]*.py")]
            assert {name.split("_")[1] for name in names} <= {"pre", "post"}, service
            # Only where it stands needs a connection.
            script = migrate._Line(service, cast("Connection", None), chassis=chassis).scripts
            assert script.get_heads() == [known[-1]]
            assert [revision.revision for revision in script.walk_revisions()] == [*reversed(known)]
            for revision in script.walk_revisions():
                assert revision.doc
                assert callable(revision.module.downgrade)


def test_no_file_of_a_service_holds_what_every_service_has() -> None:
    """Each of these was five copied files once."""
    shapes: dict[str, list[str]] = {}
    for service in SERVICES:
        for path in folder(service).glob("[0-9]*.py"):
            shape = re.sub(rf"{service}|[0-9]+", "", path.read_text())
            shapes.setdefault(shape, []).append(f"{service}/{path.name}")
    assert [alike for alike in shapes.values() if len(alike) > 1] == []


async def test_later_revisions_hold_nobody_up(new_database: NewDatabase) -> None:
    """What runs on a database at work, read by a linter that knows which locks hurt."""
    url = await new_database(None)
    await asyncio.to_thread(migrate.migrate_up, url)
    for service in SERVICES:
        await asyncio.to_thread(migrate.migrate_down, url, len(known_versions(service)) - 1, [service])
        await asyncio.to_thread(down_to, url, service, chassis_versions()[0])
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        # Alembic's own look at where it stands is no migration.
        if not statement.lower().lstrip().startswith("select") and not any(
            name in statement for name in VERSION_TABLES
        ):
            statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        await asyncio.to_thread(migrate.migrate_up, url)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert any("concurrently" in statement for statement in statements)
    script = ";\n".join(statement.strip().rstrip(";") for statement in statements) + ";\n"
    linter = await asyncio.create_subprocess_exec(
        SQUAWK,
        f"--exclude={','.join(ACCEPTED)}",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await linter.communicate(script.encode())
    assert linter.returncode == 0, told.decode()
