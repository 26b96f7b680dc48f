"""`prosa migrate`: roles, schemas and tables of all services, or of those named."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated
from urllib.parse import unquote, urlsplit

import typer

from chassis import descent
from chassis import migrate as runner
from chassis.migrations import READER_ROLE, role
from chassis.system import SERVICES
from cli.confirming import confirm, require_nobody_at_work
from cli.failures import REFUSED, Refused, database_of, operation
from cli.home import operator_database_url
from cli.output import Json, number_of, print_json, print_note, print_rows

HELP = (
    "`up` (the default) applies what is missing; `down N` takes back N steps, after it has said what is lost and was "
    "told to go on; names of services limit it to these."
)
COLUMNS = ("service", "current", "head", "chassis", "chassis_head", "state")


@dataclass(frozen=True, slots=True)
class Plan:
    """What the words of the command line ask for."""

    steps_down: int
    services: tuple[str, ...]


@operation
def migrate(
    words: Annotated[list[str] | None, typer.Argument(metavar="[up | down N] [SERVICE]...", help=HELP)] = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail when something is missing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Go down without asking, and where there is no terminal.")] = False,
    as_json: Json = False,
) -> None:
    """Bring the database of PROSA_DATABASE_URL to this version, or look whether it is."""
    plan = read_plan(words or [])
    database_url = operator_database_url(os.environ)
    with database_of(database_url, "PROSA_DATABASE_URL"):
        if check:
            found = runner.revisions(database_url, plan.services)
        elif plan.steps_down:
            go_down(database_url, plan, yes=yes)
            found = runner.revisions(database_url, plan.services)
        else:
            runner.create_roles(database_url, passwords(os.environ))
            found = runner.migrate_up(database_url, plan.services)
    runner.refuse_newer(found)
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


def go_down(database_url: str, plan: Plan, *, yes: bool) -> None:
    """Takes the steps back, if nobody is at work and whoever asked for it knows what is lost."""
    runner.refuse_newer(runner.revisions(database_url, plan.services))
    available = {name: len(found) for name, found in descent.available(database_url, plan.services).items()}
    if plan.steps_down > max(available.values()):
        listed = ", ".join(f"{name} {count}" for name, count in available.items())
        raise Refused(
            f"There are not {plan.steps_down} steps to take back: down to the oldest supported release there are: "
            f"{listed}. To go further back, restore a backup of that time into a new database.",
            reason="BELOW_OLDEST_RELEASE",
            exit_code=REFUSED,
        )
    require_nobody_at_work(database_url)
    descents = descent.plan(database_url, plan.steps_down, plan.services)
    for way in descents:
        print_note(f"{way.service}: {way.current} back to {way.target} ({number_of(len(way.revisions), 'step')})")
    lost = descent.losses(database_url, descents)
    if lost:
        print_note("This is lost for good:")
        for loss in lost:
            about = "" if loss.exact else "about "
            noun = "value" if loss.kind == "column" else "row"
            print_note(f"  {loss.kind} {loss.name}: {about}{number_of(loss.row_count, noun)}")
    else:
        print_note("No rows are lost.")
    if not yes:
        confirm()
        # Somebody may have started a service while the question stood.
        require_nobody_at_work(database_url)
    descent.migrate_to(database_url, descents)


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
