"""`prosa smoke`: one PASS or FAIL line per scenario, then the three verification queries."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer

from cli.calls import CALL_SECONDS, open_calls
from cli.choosing import Org
from cli.failures import RED, REFUSED, Refused, operation
from cli.home import READER_VARIABLE, no_reader, on_this_machine, read_bootstrap, reader_database_url
from cli.organizations import find_organization
from cli.output import Json, print_json, print_line, print_note
from cli.readings import READINGS, organization_id_of, print_reading
from cli.readings import read as read_rows
from cli.smoke import settings as smoke_settings
from cli.smoke.belonging import choose_organization, require_connection, variables_of
from cli.smoke.recovery import recovery
from cli.smoke.scenarios import Run, Scenario, instagram_again, instagram_first, isolation, whatsapp
from cli.smoke.settings import SmokeSettings
from cli.smoke.target import Access, Failed, Target
from prosa.identity.v1 import access_service_pb2 as access_pb
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub

app = typer.Typer(help="Try a running installation from the webhook to the rows.", invoke_without_command=True)

SCENARIOS: dict[str, Scenario] = {
    "whatsapp": whatsapp,
    "instagram_first": instagram_first,
    "instagram_again": instagram_again,
    "isolation": isolation,
    "recovery": recovery,
}
NAME_WIDTH = max(len(name) for name in SCENARIOS)
SMOKE_SCOPES = (
    "organization.read",
    "contacts.read",
    "conversations.read",
    "connections.read",
    "connections.write",
    "events.read",
    "events.write",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one scenario went."""

    scenario: str
    passed: bool
    seconds: float
    seen: str


@app.callback()
def smoke(
    context: typer.Context,
    org: Annotated[
        str, typer.Option("--org", help="The organization's id or name; SMOKE_ORGANIZATION_ID without it.")
    ] = "",
    only: Annotated[str, typer.Option(help=f"Some of: {', '.join(SCENARIOS)}.")] = "",
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Print the rows of the verification queries as well.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the five scenarios against the installation that SMOKE_BASE_URL names."""
    context.obj = org
    if context.invoked_subcommand is None:
        run_smoke(org=org, only=only, verbose=verbose, as_json=as_json)


@app.command("verify")
@operation
def verify(context: typer.Context, org: Org, as_json: Json = False) -> None:
    """Print the three verification queries of an organization."""
    org = org or context.obj
    database_url = reader_database_url(os.environ)
    found = read_all(database_url, organization_id_of(database_url, org))
    if as_json:
        print_json(found)
    else:
        print_readings(found)


@app.command("variables")
@operation
async def variables(context: typer.Context, org: Org, as_json: Json = False) -> None:
    """Print an organization's SMOKE_* variables on this machine: the content of .env.smoke.local."""
    found = await variables_of(org or context.obj, os.environ)
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        print_line(f"{name}={value}")
    if empty := [name for name, value in found.items() if not value]:
        # Beside the output, which goes into a file.
        print_note(f"To be filled in, since nothing on this machine tells: {', '.join(empty)}.")


@operation
async def run_smoke(*, org: str, only: str, verbose: bool, as_json: bool) -> None:
    """Runs the scenarios and prints what was seen; fails unless all of them passed."""
    chosen = choose(only)
    values = smoke_settings.variables(os.environ, Path.cwd())
    smoke_settings.read(values)
    values = choose_organization(values, org)
    settings = smoke_settings.read(values)
    async with _access(settings, values) as access, Target(settings, access) as target:
        await _begin(target)
        run = Run.begin(target)
        outcomes = []
        for name in chosen:
            outcome = await play(name, run)
            outcomes.append(outcome)
            if not as_json:
                print_line(line(outcome))
        found = read_all(access.database_url, target.organization_id)
    passed = all(outcome.passed for outcome in outcomes)
    if as_json:
        print_json({"passed": passed, "scenarios": [asdict(outcome) for outcome in outcomes], "queries": found})
    else:
        if verbose:
            print_readings(found)
            print_line()
        count = sum(outcome.passed for outcome in outcomes)
        more = "" if verbose else "; --verbose shows the rows"
        print_line(f"{'PASS' if passed else 'FAIL'}  {count} of {len(outcomes)} scenarios{more}")
    if not passed:
        raise typer.Exit(RED)


def choose(only: str) -> list[str]:
    """The scenarios of a comma separated list, in their usual order. Raises Refused naming what there is."""
    wanted = [name.strip() for name in only.split(",") if name.strip()] or list(SCENARIOS)
    unknown = [name for name in wanted if name not in SCENARIOS]
    if unknown:
        raise Refused(f"There is no scenario {unknown[0]!r}; there are: {', '.join(SCENARIOS)}.", exit_code=REFUSED)
    return [name for name in SCENARIOS if name in wanted]


async def play(name: str, run: Run) -> Outcome:
    """One scenario's outcome; whatever goes wrong in it is its failure, and the next one still runs."""
    begun = time.monotonic()
    try:
        seen, passed = await SCENARIOS[name](run), True
    except (Failed, Refused) as error:
        seen, passed = str(error), False
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        seen, passed = f"{run.target.settings.base_url} does not answer ({type(error).__name__})", False
    return Outcome(name, passed, round(time.monotonic() - begun, 2), seen)


def line(outcome: Outcome) -> str:
    """The one line of a scenario."""
    verdict = "PASS" if outcome.passed else "FAIL"
    return f"{verdict}  {outcome.scenario:<{NAME_WIDTH}}  {outcome.seconds:6.2f} s  {outcome.seen}"


def read_all(database_url: str, organization_id: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of the three verification queries, by view."""
    return {reading.view: read_rows(database_url, reading, organization_id) for reading in READINGS}


def print_readings(found: Mapping[str, Sequence[dict[str, Any]]]) -> None:
    """The three tables."""
    for reading in READINGS:
        print_line()
        print_reading(reading, list(found[reading.view]))


async def _begin(target: Target) -> None:
    try:
        await target.identify()
        await require_connection(target)
    except Failed as error:
        raise Refused(f"The API key was refused: {error}. Set {smoke_settings.API_KEY} to one that may.") from None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Refused(
            f"{target.settings.base_url} does not answer ({type(error).__name__}). Is SMOKE_BASE_URL right, and does "
            "it run?",
            reason="NOT_RUNNING",
        ) from None


@asynccontextmanager
async def _access(settings: SmokeSettings, values: Mapping[str, str]) -> AsyncIterator[Access]:
    """What looks behind the webhook: named by variables, else taken from the `prosa up` of this machine."""
    bootstrap = read_bootstrap(values)
    local = bootstrap if bootstrap.get("url") == settings.base_url else {}
    database_url = values.get(READER_VARIABLE) or local.get("database_url") or ""
    if not database_url:
        if not bootstrap and on_this_machine(settings.base_url):
            raise no_reader(values)
        raise Refused(
            f"Missing required env vars: {READER_VARIABLE}. {settings.base_url} is not the `prosa up` of this machine, "
            "so name a database URL that may read every schema.",
            reason="VARIABLE_MISSING",
            exit_code=REFUSED,
        )
    metrics_url = values.get(smoke_settings.METRICS) or local.get("metrics_url") or ""
    organization_id = settings.organization_id or local.get("organization_id") or ""
    usual = local.get("api_key") if organization_id == local.get("organization_id") else None
    if key := values.get(smoke_settings.API_KEY) or usual:
        yield Access(key, database_url, metrics_url)
        return
    if not local or not organization_id:
        raise Refused(
            f"Missing required env vars: {smoke_settings.API_KEY}. Set it to an API key of the organization: "
            "`prosa api-key create`.",
            reason="VARIABLE_MISSING",
            exit_code=REFUSED,
        )
    async with _borrowed_key(organization_id, values) as key:
        yield Access(key, database_url, metrics_url)


@asynccontextmanager
async def _borrowed_key(organization_id: str, values: Mapping[str, str]) -> AsyncIterator[str]:
    """An API key that lives as long as the smoke: whoever may use the home may make one."""
    async with open_calls(values) as calls:
        organization = await find_organization(calls, organization_id)
        stub, metadata = calls.stub(AccessServiceStub, "identity"), calls.organization(organization.organization_id)
        made = await stub.CreateApiKey(
            access_pb.CreateApiKeyRequest(name="prosa smoke", scopes=SMOKE_SCOPES),
            metadata=metadata,
            timeout=CALL_SECONDS,
        )
        try:
            yield made.secret
        finally:
            await stub.RevokeApiKey(
                access_pb.RevokeApiKeyRequest(api_key_id=made.api_key.api_key_id),
                metadata=calls.organization(organization_id),
                timeout=CALL_SECONDS,
            )
