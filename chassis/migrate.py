"""Migrations of all services: roles and schemas first, then each service's own Alembic history.

Roles belong to the whole server and not to a database, so they are made in the maintenance database under a lock there:
two databases of one server can be migrated side by side.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import Connection, create_engine
from sqlalchemy.engine import make_url

from chassis.clock import SystemClock
from chassis.database_trouble import SchemaNewer, known_versions, newer
from chassis.ids import Ids, Uuid7Ids
from chassis.migrations import READER_ROLE, SERVICES, create_installation, create_schema, owner, role

MAINTENANCE_DATABASE = "postgres"
ROLES_LOCK = 0x50726F7361
"""The advisory lock under which roles and the installation's id are made: "Prosa" in ASCII."""
LOCK_TIMEOUT = "10s"
STATEMENT_TIMEOUT = "10min"
_ONE_AT_A_TIME = threading.Lock()
"""Alembic's ``op`` is one for the whole process: a revision that ran beside another would speak to its database."""
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Revision:
    """Where one service's schema stands."""

    service: str
    current: str
    """Empty when nothing was applied yet."""
    head: str

    @property
    def up_to_date(self) -> bool:
        """True when nothing is left to apply."""
        return self.current == self.head

    @property
    def newer(self) -> bool:
        """True where a later release has migrated it."""
        return bool(self.current) and self.current not in known_versions(self.service)


def create_roles(database_url: str, passwords: Mapping[str, str]) -> None:
    """Makes the roles that are missing and sets the passwords given, by role name.

    A role is let sign in only once it has a password. ``database_url`` is one that may create roles.
    """
    wanted = [READER_ROLE, *(name for service in SERVICES for name in (role(service), owner(service)))]
    with _maintenance_connection(database_url) as connection, connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", [ROLES_LOCK])
        existing = {name for (name,) in connection.execute("select rolname from pg_roles where rolname ~ '^prosa_'")}
        for name in wanted:
            if name not in existing:
                connection.execute(sql.SQL("create role {} nologin").format(sql.Identifier(name)))
        for name, password in sorted(passwords.items()):
            connection.execute(
                sql.SQL("alter role {} login password {}").format(sql.Identifier(name), sql.Literal(password))
            )
        # Whoever is no superuser must be a member of a role to make it an owner.
        for service in SERVICES:
            connection.execute(sql.SQL("grant {} to current_user").format(sql.Identifier(owner(service))))
        search_path = ", ".join(SERVICES)
        connection.execute(f"alter role {READER_ROLE} set search_path = {search_path}".encode())


def migrate_up(
    database_url: str, services: Sequence[str] = SERVICES, *, ids: Ids | None = None, simulated_clock: bool = False
) -> list[Revision]:
    """Applies all that is missing; roles must be there. Answers where each service stands then.

    A database that has no installation's id yet is given one from ``ids``; only then does ``simulated_clock`` count.
    """
    refuse_newer(revisions(database_url, services))
    with connected(database_url) as connection:
        with connection.begin():
            connection.exec_driver_sql(f"select pg_advisory_xact_lock({ROLES_LOCK})")
            connection.exec_driver_sql(
                create_installation((ids or Uuid7Ids(SystemClock())).new(), simulated_clock=simulated_clock)
            )
        for service in services:
            with connection.begin():
                connection.exec_driver_sql(create_schema(service))
            with _ONE_AT_A_TIME:
                command.upgrade(config_for(service, connection), "head")
            # Where nothing was to apply, the look at the version has left a transaction open.
            connection.rollback()
            with connection.begin():
                # So that the service can say whether the schema is one it works with.
                connection.exec_driver_sql(f"grant select on {service}.alembic_version to {role(service)}")
    return revisions(database_url, services)


def migrate_down(database_url: str, steps: int, services: Sequence[str] = SERVICES) -> list[Revision]:
    """Takes back the last steps of each service, never past its beginning."""
    with connected(database_url) as connection:
        for service in services:
            current = current_revision(service, connection)
            config = config_for(service, connection)
            history = list(ScriptDirectory.from_config(config).iterate_revisions(current or "base", "base"))
            if history:
                with _ONE_AT_A_TIME:
                    command.downgrade(config, f"-{min(steps, len(history))}")
    return revisions(database_url, services)


def revisions(database_url: str, services: Sequence[str] = SERVICES) -> list[Revision]:
    """Where each service stands, and where it should."""
    with connected(database_url) as connection:
        return [
            Revision(
                service=service,
                current=current_revision(service, connection),
                head=ScriptDirectory.from_config(config_for(service, connection)).get_current_head() or "",
            )
            for service in services
        ]


def refuse_newer(found: Sequence[Revision]) -> None:
    """Raises SchemaNewer where a later release has migrated one of them."""
    for revision in found:
        if revision.newer:
            raise SchemaNewer(newer("The database", revision.service, revision.current))


def downgrade(service: str, target: str, connection: Connection, *, in_one_transaction: bool = False) -> None:
    """Takes the service back to the revision; in one transaction it is left open, to be looked at and rolled back."""
    config = config_for(service, connection)
    config.attributes["in_one_transaction"] = in_one_transaction
    if in_one_transaction and not connection.in_transaction():
        connection.begin()
    with _ONE_AT_A_TIME:
        command.downgrade(config, target)


def current_revision(service: str, connection: Connection) -> str:
    """Where the service's schema stands; empty when nothing was applied yet."""
    context = MigrationContext.configure(
        connection, opts={"version_table": "alembic_version", "version_table_schema": service}
    )
    current = context.get_current_revision() or ""
    connection.rollback()
    return current


def config_for(service: str, connection: Connection) -> Config:
    """Alembic's settings for one service's history."""
    config = Config()
    config.set_main_option("script_location", str(_ROOT / "chassis" / "alembic_environment"))
    config.set_main_option("version_locations", str(_ROOT / "services" / service / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    config.attributes["service"] = service
    return config


@contextmanager
def connected(database_url: str) -> Iterator[Connection]:
    """A connection for migrating, with limits on waiting; statements without parameters go out as they are written."""
    url = make_url(database_url).set(drivername="postgresql+psycopg")
    options = f"-c lock_timeout={LOCK_TIMEOUT} -c statement_timeout={STATEMENT_TIMEOUT} -c timezone=UTC"
    engine = create_engine(url, connect_args={"options": options, "prepare_threshold": None})
    try:
        # A % in a statement is a %.
        with engine.connect().execution_options(no_parameters=True) as connection:
            yield connection
    finally:
        engine.dispose()


@contextmanager
def _maintenance_connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    url = make_url(database_url).set(drivername="postgresql")
    try:
        connection = psycopg.connect(
            url.set(database=MAINTENANCE_DATABASE).render_as_string(hide_password=False), autocommit=True
        )
    except psycopg.OperationalError:
        # A hosted server may keep its maintenance database closed; the lock then holds within this one only.
        connection = psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)
    with connection:
        yield connection
