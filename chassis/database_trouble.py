"""Why a database cannot be worked with: a sentence that says what to do, for log, /readyz and the command line.

Callers of the API are told only that the database does not answer: names of hosts and roles are not for them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy.engine import make_url

from chassis.lines import chassis_versions, known_versions
from chassis.migrations import role

VERSION = (
    "select version_num, to_regclass('{service}.chassis_version') is not null as has_chassis"
    " from {service}.alembic_version"
)
CHASSIS_VERSION = "select version_num from {service}.chassis_version"
UNMIGRATED_STATES = frozenset({"3F000", "42501", "42703", "42883", "42P01"})
"""What PostgreSQL answers where a schema, a table, a column, a function or a right to them is missing."""
_MAKES_THE_ROLE = ", or run `prosa migrate` with {variable} set, which makes the role and gives it this password"
SEES_ALL = "select rolsuper or rolbypassrls from pg_roles where rolname = current_user"
SEES_ALL_ROWS = "the role sees the rows of every organization"
_REFUSALS = (
    (
        SEES_ALL_ROWS,
        "DATABASE_ROLE_UNBOUND",
        "The role {role} is bound by no row-level security. Name the service's own role in {variable}{or_make}.",
    ),
    (
        r"password authentication failed|no password supplied|authentication method",
        "DATABASE_PASSWORD_REFUSED",
        "The database at {where} refuses the password of {role}, or has no such role. Correct {variable}{or_make}.",
    ),
    (
        r'role ".*" (does not exist|is not permitted to log in)',
        "DATABASE_ROLE_MISSING",
        "The database at {where} lets no {role} sign in: it is missing or may not. Correct {variable}{or_make}.",
    ),
    (
        r'database ".*" does not exist',
        "DATABASE_MISSING",
        "There is no database {database} at {where}. Correct {variable}, or create it and run `prosa migrate`.",
    ),
    (
        r"no pg_hba.conf entry|permission denied for database|SSL",
        "DATABASE_ACCESS_REFUSED",
        "The database at {where} does not let {role} in: see its pg_hba.conf and grants, or {variable}'s sslmode.",
    ),
    (
        r"could not translate host name|failed to resolve host|[Nn]ame or service not known|No address associated",
        "DATABASE_HOST_UNKNOWN",
        "Nobody knows a host {where}. Correct {variable}, or the name server of this machine.",
    ),
    (
        r"too many (clients|connections)|connection slots",
        "DATABASE_FULL",
        "The database at {where} takes no more connections. Raise its max_connections, or stop what holds them.",
    ),
)
"""By libpq's words: the reason, and what to do."""
_AWAY = (
    "The database at {where} does not answer. If that lasts: see whether PostgreSQL runs there, and whether {variable}"
    " names it rightly."
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong and what to do about it."""

    reason: str
    sentence: str
    passes: bool = False
    """True where it may well pass by itself: a server that restarts."""


class SchemaNewer(Exception):
    """A later release has migrated the database; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """Which database is meant, without the password."""

    variable: str
    """The setting that names it."""
    service: str = ""
    role: str = ""
    host: str = ""
    database: str = ""

    @classmethod
    def of(cls, url: str, variable: str, service: str = "") -> Target:
        """Reads the URL."""
        parts = make_url(url)
        host = str(parts.host or parts.query.get("host", "") or "the local socket")
        return cls(
            variable=variable,
            service=service,
            role=parts.username or "",
            host=f"{host}:{parts.port}" if parts.port else host,
            database=parts.database or "",
        )


def why_not_connected(error: BaseException, target: Target) -> Trouble:
    """What is wrong where no connection came to be, or one was lost. libpq gives no codes for it, only words."""
    said = " ".join(str(error).split())
    own_role = bool(target.service) and target.role == role(target.service)
    values = {
        "where": target.host,
        "database": target.database,
        "role": target.role,
        "variable": target.variable,
        "or_make": _MAKES_THE_ROLE.format(variable=target.variable) if own_role else "",
    }
    for pattern, reason, sentence in _REFUSALS:
        if re.search(pattern, said):
            return Trouble(reason, sentence.format(**values))
    return Trouble("DATABASE_AWAY", _AWAY.format(**values), passes=True)


def unmigrated(target: Target) -> Trouble:
    """The schema is not there, or was made by a release that let no service see its version."""
    return Trouble(
        "SCHEMA_MISSING",
        f"The database {target.database} at {target.host} has not been migrated for {target.service}. Run `prosa"
        " migrate`; this process goes on by itself then.",
    )


def judge_version(found: str, chassis: str, target: Target) -> Trouble | None:
    """What is wrong with a schema whose lines stand there, if anything is; empty where one has not begun."""
    lines = ((found, known_versions(target.service)), (chassis, chassis_versions()))
    where = f"The database {target.database} at {target.host}"
    for stands, known in lines:
        if stands and stands not in known:
            return Trouble("SCHEMA_NEWER", newer(where, target.service, stands, known[-1]))
    for stands, known in lines:
        if stands != known[-1]:
            return Trouble(
                "SCHEMA_BEHIND",
                f"{where} is older than this release: {target.service} stands at {stands or found},"
                f" and {known[-1]} is needed. Run `prosa migrate`; this process goes on by itself then.",
            )
    return None


def newer(what: str, service: str, found: str, known: str) -> str:
    """The sentence for a database that a later release has migrated."""
    return (
        f"{what} is newer than this release: {service} stands at {found}, and this release knows no further than"
        f" {known}. Install the release that migrated it, or let that one go back with `prosa migrate down`."
    )
