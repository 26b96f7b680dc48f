"""`prosa org`: organizations of this installation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.calls import CALL_SECONDS, Calls, all_pages, open_calls
from cli.choosing import Org, choose
from cli.failures import RED, REFUSED, Refused, operation
from cli.home import demo_organizations
from cli.output import Json, answer, print_json, print_rows
from prosa.identity.v1 import access_service_pb2 as access
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub

_MARKS = {1: "ok  ", 4: "skip"}
"""How items of a report begin, by their state; all others have failed."""
DOCTOR_SECONDS = 20.0
"""The service itself gives up after ten."""

app = typer.Typer(help="Organizations: the businesses that use this installation.", no_args_is_help=True)


async def find_organization(calls: Calls, wanted: str) -> access.Organization:
    """The organization with this id or name, or the only one when nothing is wanted. Raises Refused naming them."""
    found = {item.organization_id: item for item in await list_organizations(calls)}
    there_are = [(item.organization_id, item.name) for item in found.values()]
    return found[choose(wanted, there_are, aside=demo_organizations())]


async def list_organizations(calls: Calls) -> list[access.Organization]:
    """All organizations, by name."""
    stub = calls.stub(AccessServiceStub, "identity")
    return await all_pages(stub.ListOrganizations, access.ListOrganizationsRequest(), "organizations")


@app.command("create")
@operation
async def create(
    name: Annotated[str, typer.Option(help="The business.")],
    admin: Annotated[str, typer.Option(help="E-mail of its first owner.")],
    region: Annotated[str, typer.Option(help="ISO country of phones written without one.")] = "BR",
    time_zone: Annotated[str, typer.Option(help="IANA time zone.")] = "America/Sao_Paulo",
    password_env: Annotated[
        str, typer.Option(help="Name of the variable with the owner's password; drawn and shown once without it.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Make an organization with its first owner and board. The same name and e-mail again change nothing."""
    import os

    from phonenumbers import SUPPORTED_REGIONS

    from cli.demo.seed import ensure_board

    password = os.environ.get(password_env, "") if password_env else ""
    if password_env and not password:
        raise Refused(f"{password_env} is not set. Put the owner's password into it.", exit_code=REFUSED)
    if region.upper() not in SUPPORTED_REGIONS:
        raise Refused(
            f"--region {region!r} is no country. Write its two ISO letters, such as BR.",
            reason="REGION_INVALID",
            exit_code=REFUSED,
        )
    async with open_calls() as calls:
        made = await calls.stub(AccessServiceStub, "identity").CreateOrganization(
            access.CreateOrganizationRequest(
                name=name, admin_email=admin, admin_password=password, region=region.upper(), time_zone=time_zone
            ),
            timeout=CALL_SECONDS,
        )
        organization = made.organization
        board_id = await ensure_board(calls, organization.organization_id)
    # A password that was given is known; it must not stand in a terminal or a log as well.
    drawn = "" if password else made.admin_password
    content = {
        "organization_id": organization.organization_id,
        "name": organization.name,
        "created": made.created,
        "admin": {"email": made.admin_email, "password": drawn or None},
        "board_id": board_id,
    }
    lines = [
        f"{'Created' if made.created else 'It was there already'}: {organization.name}",
        f"  organization  {organization.organization_id}",
        f"  board         {board_id}",
        f"  owner         {made.admin_email}",
    ]
    if drawn:
        lines.append(f"  password      {drawn}   (shown only now)")
    answer(content, lines, as_json=as_json)


@app.command("list")
@operation
async def list_(as_json: Json = False) -> None:
    """List the organizations, by name."""
    async with open_calls() as calls:
        found = await list_organizations(calls)
    of_demo = demo_organizations()
    rows = [
        {
            "organization_id": item.organization_id,
            "name": item.name,
            "region": item.region,
            "time_zone": item.time_zone,
            "create_time": item.create_time.ToJsonString(),
            "demo": item.organization_id in of_demo,
        }
        for item in found
    ]
    if as_json:
        print_json({"organizations": rows})
    else:
        print_rows(
            rows,
            ["organization_id", "name", "region", "time_zone", "create_time", *(["demo"] if of_demo else [])],
            empty="No organization yet.",
        )


@app.command("doctor")
@operation
async def doctor(
    org: Org,
    evidence: Annotated[str, typer.Option(help="A folder to write what was seen into, as a file of JSON.")] = "",
    as_json: Json = False,
) -> None:
    """Check everything that must be so before an organization goes live: 0 when all passed, 1 when something failed."""
    from google.protobuf.json_format import MessageToDict

    from prosa.ingest.v1 import rollout_service_pb2 as rollout
    from prosa.ingest.v1.rollout_service_pb2_grpc import RolloutServiceStub

    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        report = await calls.stub(RolloutServiceStub, "ingest").RunDoctor(
            rollout.RunDoctorRequest(),
            metadata=calls.organization(organization.organization_id),
            timeout=DOCTOR_SECONDS,
        )
    document = MessageToDict(report, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    document["organization_name"] = organization.name
    lines = [f"{organization.name}  {organization.organization_id}"]
    for item in report.items:
        lines.append(f"  {_MARKS.get(item.state, 'FAIL')}  {item.name}: {item.detail}")
        if item.advice:
            lines.append(f"        {item.advice}")
    lines.append("All passed." if report.passed else "Not ready to go live.")
    if evidence:
        lines.append(f"Evidence: {_write_evidence(evidence, report.rollout_report_id, document)}")
    answer(document, lines, as_json=as_json)
    if not report.passed:
        raise typer.Exit(RED)


def _write_evidence(folder: str, report_id: str, document: dict[str, Any]) -> Path:
    """Writes a report under a name of its own. Raises Refused where the folder cannot be written."""
    file = Path(folder) / f"doctor-{report_id}.json"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise Refused(f"--evidence {folder}: {error.strerror}.", exit_code=REFUSED) from error
    return file
