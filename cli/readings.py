"""`prosa sql`: the three verification queries over the tables that the pilot's checks know."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from cli.choosing import Org, choose
from cli.failures import REFUSED, database_of, operation
from cli.home import READER_VARIABLE, demo_organizations, reader_database_url
from cli.output import Json, print_json, print_rows

app = typer.Typer(help="Verification queries.", no_args_is_help=True)

CONNECT_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Reading:
    """One verification query: newest first, of one organization."""

    title: str
    view: str
    columns: tuple[str, ...]
    order: str
    limit: int


LINKS = Reading(
    "Conversation links",
    "messaging_conversation_links",
    (
        "id",
        "chatwoot_conversation_id",
        "chatwoot_inbox_id",
        "contact_id",
        "deal_id",
        "status",
        "unread_count",
        "ai_enabled",
        "updated_at",
    ),
    "updated_at",
    30,
)
IDENTITIES = Reading(
    "Contact identities",
    "messaging_contact_identities",
    ("source", "external_id", "contact_id", "created_at"),
    "created_at",
    20,
)
IDENTITY_LOG = Reading(
    "Identity resolution log",
    "messaging_identity_resolution_log",
    ("created_at", "action", "source", "external_id", "contact_id", "identity_id", "error_message"),
    "created_at",
    20,
)
READINGS = (LINKS, IDENTITIES, IDENTITY_LOG)

Limit = Annotated[int | None, typer.Option(min=1, max=10_000, help="How many rows at most.")]


def read(
    database_url: str, reading: Reading, organization_id: str, limit: int | None = None, **wanted: Any
) -> list[dict[str, Any]]:
    """The rows of one query; `wanted` are columns and the values they must have."""
    import psycopg
    from psycopg.rows import dict_row

    columns = ", ".join(reading.columns)
    assert set(wanted) <= set(reading.columns)
    conditions = "".join(f" and {column} = %({column})s" for column in wanted)
    query = (
        f"select {columns} from {reading.view} where organization_id = %(organization_id)s{conditions}"
        f" order by {reading.order} desc limit %(limit)s"
    )
    values = {"organization_id": organization_id, "limit": limit or reading.limit, **wanted}
    with psycopg.connect(database_url, connect_timeout=CONNECT_SECONDS, row_factory=dict_row) as connection:
        return connection.execute(query.encode(), values).fetchall()


def organization_id_of(database_url: str, named: str) -> str:
    """The id of the organization with this id or name, or of the only one. Raises Refused naming what there is."""
    import psycopg

    with psycopg.connect(database_url, connect_timeout=CONNECT_SECONDS) as connection:
        found = connection.execute(
            "select organization_id::text, name from identity.organizations order by name, organization_id"
        ).fetchall()
    return choose(named, found, exit_code=REFUSED, aside=demo_organizations())


def print_reading(reading: Reading, rows: list[dict[str, Any]]) -> None:
    """One query's rows as a table below its title."""
    print_rows(rows, reading.columns, title=f"{reading.title} ({len(rows)})", empty="  no rows")


@app.command("links")
@operation
def links(org: Org, limit: Limit = None, as_json: Json = False) -> None:
    """Conversations linked to contacts and deals, newest first."""
    _show(LINKS, org, limit, as_json=as_json)


@app.command("identities")
@operation
def identities(org: Org, limit: Limit = None, as_json: Json = False) -> None:
    """Identities of contacts, newest first."""
    _show(IDENTITIES, org, limit, as_json=as_json)


@app.command("identity-log")
@operation
def identity_log(org: Org, limit: Limit = None, as_json: Json = False) -> None:
    """How identities were resolved, newest first."""
    _show(IDENTITY_LOG, org, limit, as_json=as_json)


def _show(reading: Reading, org: str, limit: int | None, *, as_json: bool) -> None:
    database_url = reader_database_url(os.environ)
    with database_of(database_url, READER_VARIABLE):
        rows = read(database_url, reading, organization_id_of(database_url, org), limit)
    if as_json:
        print_json({"rows": rows})
    else:
        print_reading(reading, rows)
