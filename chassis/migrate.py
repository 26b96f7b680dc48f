"""Migrations of all services: roles and schemas first, then in each the chassis' line and the service's own after it.

Roles belong to the whole server and not to a database, so they are made in the maintenance database under a lock there:
two databases of one server can be migrated side by side.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from psycopg import sql
from sqlalchemy import Connection, create_engine
from sqlalchemy.engine import make_url

from chassis.clock import SystemClock
from chassis.database_trouble import SchemaNewer, newer
from chassis.ids import Ids, Uuid7Ids
from chassis.lines import CHASSIS, chassis_version_at, chassis_versions, folder, known_versions, silent_steps
from chassis.migrations import READER_ROLE, VERSION_TABLES, create_installation, create_schema, owner, role
from chassis.system import SERVICES

MAINTENANCE_DATABASE = "postgres"
ROLES_LOCK = 0x50726F7361
"""The advisory lock under which roles and the installation's id are made: "Prosa" in ASCII."""
GONE_AFTER = "1s"
"""How often a server that works for a service looks whether that is still there."""
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
    chassis: str
    """Where the chassis' tables in it stand; empty too where the release before this line left them."""
    chassis_head: str

    @property
    def up_to_date(self) -> bool:
        """True when nothing is left to apply."""
        return (self.current, self.chassis) == (self.head, self.chassis_head)

    @property
    def newer(self) -> tuple[str, str] | None:
        """The version to which a later release has migrated it, and the last one that this release knows."""
        lines = ((self.current, known_versions(self.service)), (self.chassis, chassis_versions()))
        return next(((found, known[-1]) for found, known in lines if found and found not in known), None)


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
            # A request to give a statement up that overtakes the statement is lost: the server looks by itself whether
            # anybody is still there.
            connection.execute(
                sql.SQL("alter role {} set client_connection_check_interval = {}").format(
                    sql.Identifier(role(service)), sql.Literal(GONE_AFTER)
                )
            )
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
            chassis_up(service, connection)
            upgrade(service, connection)
            with connection.begin():
                for table in VERSION_TABLES:
                    # So that the service can say whether the schema is one it works with.
                    connection.exec_driver_sql(f"grant select on {service}.{table} to {role(service)}")
    return revisions(database_url, services)


def chassis_up(service: str, connection: Connection, target: str = "head") -> None:
    """Makes the service's schema where there is none, and brings the chassis' tables in it up."""
    with connection.begin():
        connection.exec_driver_sql(create_schema(service))
    _adopt(service, connection)
    upgrade(service, connection, target, chassis=True)


def upgrade(service: str, connection: Connection, target: str = "head", *, chassis: bool = False) -> None:
    """Brings one line of a schema up."""
    line = _Line(service, connection, chassis=chassis)
    line.run(target, lambda current, _: line.scripts._upgrade_revs(target, current))  # noqa: SLF001 what Alembic's own command does
    # Where nothing was to apply, the look at the version has left a transaction open.
    connection.rollback()


def _adopt(service: str, connection: Connection) -> None:
    """Writes down where the chassis' tables stand that a release without a line of theirs has made."""
    own = current_revision(service, connection)
    if not own or current_revision(service, connection, chassis=True):
        return
    line = _Line(service, connection, chassis=True)
    with connection.begin():
        line.place().stamp(line.scripts, chassis_version_at(service, own))


def migrate_down(database_url: str, steps: int, services: Sequence[str] = SERVICES) -> list[Revision]:
    """Takes back the last steps of each service, never past its beginning."""
    with connected(database_url) as connection:
        for service in services:
            applied = applied_versions(service, connection)
            if applied:
                downgrade(service, applied[-steps - 1] if steps < len(applied) else "base", connection)
    return revisions(database_url, services)


def revisions(database_url: str, services: Sequence[str] = SERVICES) -> list[Revision]:
    """Where each service stands, and where it should."""
    with connected(database_url) as connection:
        return [
            Revision(
                service=service,
                current=current_revision(service, connection),
                head=known_versions(service)[-1],
                chassis=current_revision(service, connection, chassis=True),
                chassis_head=chassis_versions()[-1],
            )
            for service in services
        ]


def refuse_newer(found: Sequence[Revision]) -> None:
    """Raises SchemaNewer where a later release has migrated one of them."""
    for revision in found:
        if (found_and_known := revision.newer) is not None:
            raise SchemaNewer(newer("The database", revision.service, *found_and_known))


def downgrade(service: str, target: str, connection: Connection, *, in_one_transaction: bool = False) -> None:
    """Takes a line of the service's schema back to the version, which says which line, or its own to ``base``.

    In one transaction it is left open, to be looked at and rolled back.
    """
    line = _Line(service, connection, chassis=target.startswith(f"{CHASSIS}_"))
    line.config.attributes["in_one_transaction"] = in_one_transaction
    if in_one_transaction and not connection.in_transaction():
        connection.begin()
    line.run(target, lambda current, _: line.scripts._downgrade_revs(target, current))  # noqa: SLF001 as above


def applied_versions(service: str, connection: Connection, *, chassis: bool = False) -> Sequence[str]:
    """The versions of a line that the schema has gone through, oldest first."""
    known = chassis_versions() if chassis else known_versions(service)
    current = current_revision(service, connection, chassis=chassis)
    return known[: known.index(current) + 1] if current else ()


def current_revision(service: str, connection: Connection, *, chassis: bool = False) -> str:
    """Where a line of the service's schema stands; empty when nothing was applied yet."""
    current = _Line(service, connection, chassis=chassis).place().get_current_revision() or ""
    connection.rollback()
    return current


class _Scripts(ScriptDirectory):
    """The files of a line, and its steps that have none."""

    silent: Sequence[tuple[str, str]] = ()

    def _load_revisions(self) -> Iterator[Script]:
        yield from super()._load_revisions()
        for version, before in self.silent:
            module = ModuleType(version, "Did what the chassis' own line does now.")
            module.__dict__.update(down_revision=before, upgrade=_nothing, downgrade=_nothing)
            yield Script(module, version, "")


def _nothing() -> None:
    """What a step does that has no file."""


class _Line:
    """One line of one schema, as Alembic sees it."""

    def __init__(self, service: str, connection: Connection, *, chassis: bool) -> None:
        own_table, chassis_table = VERSION_TABLES
        self.config = Config()
        self.config.attributes["connection"] = connection
        self.config.attributes["service"] = service
        self.config.attributes["version_table"] = chassis_table if chassis else own_table
        files = str(folder(service, chassis=chassis))
        self.scripts = _Scripts(str(_ROOT / "chassis" / "alembic_environment"), version_locations=[files])
        self.scripts.silent = () if chassis else silent_steps(service)

    def run(self, target: str, steps: Callable[[Any, MigrationContext], Any]) -> None:
        """Goes the steps that lead from where the line stands to the target."""
        with (
            _ONE_AT_A_TIME,
            EnvironmentContext(self.config, self.scripts, fn=steps, destination_rev=target),
        ):
            self.scripts.run_env()

    def place(self) -> MigrationContext:
        """What knows where the line stands."""
        attributes = self.config.attributes
        options = {"version_table": attributes["version_table"], "version_table_schema": attributes["service"]}
        return MigrationContext.configure(attributes["connection"], opts=options)


@contextmanager
def connected(database_url: str, lock_timeout: str = LOCK_TIMEOUT) -> Iterator[Connection]:
    """A connection for migrating, with limits on waiting; statements without parameters go out as they are written."""
    url = make_url(database_url).set(drivername="postgresql+psycopg")
    options = f"-c lock_timeout={lock_timeout} -c statement_timeout={STATEMENT_TIMEOUT} -c timezone=UTC"
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
