"""What the database's own catalogue says there is: tables, policies, functions. Nothing here is kept by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from chassis.migrations import role
from chassis.system import SERVICES
from tests.isolation.filling import plain_url
from tests.isolation.parties import Filled, Party
from tests.world import role_url

SCHEMAS = list(SERVICES)
APPEND_ONLY = frozenset({"identity.audit_entries"})
"""What a service adds and reads, and may not change or delete."""
BY_MEMBERSHIP = frozenset({"identity.users", "identity.mfa_factors", "identity.recovery_codes"})
"""What is a user's is of no organization; a transaction sees it of those who are members of its own."""
KINDS = {"r": "table", "p": "table", "v": "view", "m": "materialized view", "f": "foreign table"}

Connection = psycopg.Connection[dict[str, Any]]


@dataclass(frozen=True)
class Table:
    """One table or view that holds rows of organizations."""

    service: str
    name: str
    view: bool
    owner_column: str
    """The column that says whose a row is."""
    of_a: str
    """A condition that A's rows meet, by constants: it means the same whoever asks."""
    of_b: str
    id_of_a: str
    """A value of the owner's column that says a row is A's."""

    def __str__(self) -> str:
        return f"{self.service}.{self.name}"


@dataclass(frozen=True)
class Policy:
    """One policy that binds a service's own role."""

    service: str
    table: str
    name: str
    using: str
    check: str | None


def connect(url: str) -> Connection:
    """A connection that sees rows as mappings; every statement is its own transaction unless one is opened."""
    return psycopg.connect(plain_url(url), autocommit=True, row_factory=dict_row)


def connect_as(url: str, service: str) -> Connection:
    """A connection as the service's own role."""
    return connect(role_url(url, service))


def rows(connection: Connection, query: str, *parameters: Any) -> list[dict[str, Any]]:
    """What a query answers."""
    return connection.execute(query.encode(), parameters or None).fetchall()


def relations(admin: Connection) -> dict[str, tuple[str, bool]]:
    """Every relation of the five schemas but partitions: its kind, and whether it has an organization."""
    found = rows(
        admin,
        """
        select relnamespace::regnamespace::text as schema, relname as name, relkind::text as kind,
          exists (select from pg_attribute where attrelid = pg_class.oid and attname = 'organization_id'
            and not attisdropped) as has_organization
        from pg_class
        where relnamespace::regnamespace::text = any (%s) and relkind = any (%s) and not relispartition
        order by 1, 2
        """,
        SCHEMAS,
        list(KINDS),
    )
    return {f"{row['schema']}.{row['name']}": (row["kind"], row["has_organization"]) for row in found}


def partitions(admin: Connection) -> list[str]:
    """Every partition of the five schemas."""
    found = rows(
        admin,
        "select oid::regclass::text as name from pg_class"
        " where relnamespace::regnamespace::text = any (%s) and relispartition and relkind in ('r', 'p') order by 1",
        SCHEMAS,
    )
    return [row["name"] for row in found]


def tables_of_organizations(admin: Connection, filled: Filled) -> list[Table]:
    """Every table and view with an organization, and the users, who are whose members they are."""
    tables = []
    for full_name, (kind, has_organization) in relations(admin).items():
        service, _, name = full_name.partition(".")
        if has_organization:
            of_a, of_b = (f"organization_id = '{party.organization_id}'" for party in (filled.a, filled.b))
            id_of_a = str(filled.a.organization_id)
            tables.append(Table(service, name, kind == "v", "organization_id", of_a, of_b, id_of_a))
        elif full_name in BY_MEMBERSHIP:
            users = [_members(admin, party) for party in (filled.a, filled.b)]
            of_a, of_b = (f"user_id = any ('{{{','.join(ids)}}}'::uuid[])" for ids in users)
            tables.append(Table(service, name, False, "user_id", of_a, of_b, users[0][0]))
    return tables


def _members(admin: Connection, party: Party) -> list[str]:
    found = rows(admin, "select user_id from identity.members where organization_id = %s", party.organization_id)
    return [str(row["user_id"]) for row in found]


def service_policies(admin: Connection) -> list[Policy]:
    """Every policy of a service's own role."""
    found = rows(
        admin,
        "select schemaname, tablename, policyname, qual, with_check, roles::text[] as roles from pg_policies"
        " where schemaname = any (%s) order by 1, 2, 3",
        SCHEMAS,
    )
    return [
        Policy(row["schemaname"], row["tablename"], row["policyname"], row["qual"], row["with_check"])
        for row in found
        if {role(row["schemaname"]), "public"} & set(row["roles"])
    ]


def owner_policies(admin: Connection) -> list[dict[str, Any]]:
    """Every policy of a role that owns a schema, and whether a function of the schema names its table."""
    return rows(
        admin,
        """
        select format('%%s.%%s', schemaname, tablename) as name, cmd, exists (
            select from pg_proc where pronamespace::regnamespace::text = schemaname
              and position(schemaname || '.' || tablename in prosrc) > 0) as looked_up
        from pg_policies where schemaname = any (%s) and roles @> array[('prosa_' || schemaname || '_owner')::name]
        order by 1, 2
        """,
        SCHEMAS,
    )


def functions(admin: Connection) -> list[dict[str, Any]]:
    """Every function of the five schemas, and every SECURITY DEFINER function there is beyond PostgreSQL's own."""
    return rows(
        admin,
        """
        select format('%%s.%%s', pronamespace::regnamespace, proname) as name,
          pronamespace::regnamespace::text as schema, oid::regprocedure::text as signature, prosecdef as definer,
          pg_get_userbyid(proowner) as owner, coalesce(proconfig, '{}') as settings,
          pg_get_function_result(oid) as result
        from pg_proc
        where pronamespace::regnamespace::text = any (%s)
          or (prosecdef and pronamespace::regnamespace::text not in ('pg_catalog', 'information_schema'))
        order by 1
        """,
        SCHEMAS,
    )


def of_service(tables: Sequence[Table], service: str) -> list[Table]:
    """The tables of one schema."""
    return [table for table in tables if table.service == service]
