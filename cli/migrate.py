"""`prosa migrate`: roles, schemas and tables of all services, or of those named."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated
from urllib.parse import unquote, urlsplit

import typer

from chassis import migrate as runner
from chassis.migrations import READER_ROLE, SERVICES, role
from cli.failures import REFUSED, Refused, operation
from cli.home import operator_database_url
from cli.output import Json, print_json, print_rows

HELP = "`up` (the default) applies what is missing; `down N` takes back N steps; names of services limit it to these."
COLUMNS = ("service", "current", "head", "state")


@dataclass(frozen=True, slots=True)
class Plan:
    """What the words of the command line ask for."""

    steps_down: int
    services: tuple[str, ...]


@operation
def migrate(
    words: Annotated[list[str] | None, typer.Argument(metavar="[up | down N] [SERVICE]...", help=HELP)] = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail when something is missing.")] = False,
    as_json: Json = False,
) -> None:
    """Bring the database of PROSA_DATABASE_URL to this version, or look whether it is."""
    plan = read_plan(words or [])
    database_url = operator_database_url(os.environ)
    if check:
        found = runner.revisions(database_url, plan.services)
    elif plan.steps_down:
        found = runner.migrate_down(database_url, plan.steps_down, plan.services)
    else:
        runner.create_roles(database_url, passwords(os.environ))
        found = runner.migrate_up(database_url, plan.services)
    missing = [revision.service for revision in found if not revision.up_to_date]
    if as_json:
        print_json({"up_to_date": not missing, "services": [asdict(revision) for revision in found]})
    else:
        print_rows(
            [asdict(revision) | {"state": "ok" if revision.up_to_date else "behind"} for revision in found], COLUMNS
        )
    if check and missing:
        if as_json:
            raise typer.Exit(1)
        raise Refused(f"Migrations are missing in: {', '.join(missing)}. Run `prosa migrate`.", reason="SCHEMA_BEHIND")


def read_plan(words: Sequence[str]) -> Plan:
    """Understands `up`, `down N` and names of services."""
    left = list(words)
    steps_down = 0
    if left and left[0] in ("up", "down"):
        direction = left.pop(0)
        if direction == "down":
            if not left or not left[0].isdecimal() or int(left[0]) < 1:
                raise Refused("Say how many steps: `prosa migrate down 1`.", exit_code=REFUSED)
            steps_down = int(left.pop(0))
    unknown = [word for word in left if word not in SERVICES]
    if unknown:
        raise Refused(f"There is no service {unknown[0]!r}; there are: {', '.join(SERVICES)}.", exit_code=REFUSED)
    return Plan(steps_down, tuple(left) or SERVICES)


def passwords(environment: Mapping[str, str]) -> dict[str, str]:
    """By role, the passwords that the services' own URLs carry: what they will sign in with."""
    urls = {role(service): environment.get(f"PROSA_{service.upper()}_DATABASE_URL", "") for service in SERVICES}
    urls[READER_ROLE] = environment.get("PROSA_READER_DATABASE_URL", "")
    found = {}
    for name, url in urls.items():
        parts = urlsplit(url)
        if parts.username and unquote(parts.username) == name and parts.password:
            found[name] = unquote(parts.password)
    return found
