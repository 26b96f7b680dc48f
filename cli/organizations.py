"""`prosa org`: organizations of this installation."""

from __future__ import annotations

from typing import Annotated
from uuid import uuid4

import typer

from cli.calls import CALL_SECONDS, Calls, all_pages, open_calls
from cli.choosing import Org, choose
from cli.failures import REFUSED, Refused, operation
from cli.home import demo_organizations
from cli.output import Json, answer, print_json, print_rows
from cli.rollout import ROLLOUT_SECONDS, Evidence, Reason, rollout_stub, show_report
from prosa.conversation.v1 import settings_service_pb2 as settings_pb
from prosa.conversation.v1.settings_service_pb2_grpc import SettingsServiceStub
from prosa.identity.v1 import access_service_pb2 as access
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub
from prosa.ingest.v1 import rollout_service_pb2 as rollout

app = typer.Typer(help="Organizations: the businesses that use this installation.", no_args_is_help=True)
automation = typer.Typer(help="Whether anything is said by itself for an organization.", no_args_is_help=True)
app.add_typer(automation, name="automation")


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
    existing_account: Annotated[
        bool,
        typer.Option(
            "--existing-account",
            help="The e-mail's account came of an invitation, and you know that it is the owner's.",
        ),
    ] = False,
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
                name=name,
                admin_email=admin,
                admin_password=password,
                region=region.upper(),
                time_zone=time_zone,
                existing_account=existing_account,
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
    elif made.created and not made.admin_password:
        lines.append("  password      that of the account, which was there already")
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
async def doctor(org: Org, evidence: Evidence = "", as_json: Json = False) -> None:
    """Check everything that must be so before an organization goes live: 0 when all passed, 1 when something failed."""
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        report = await rollout_stub(calls).RunDoctor(
            rollout.RunDoctorRequest(),
            metadata=calls.organization(organization.organization_id),
            timeout=ROLLOUT_SECONDS,
        )
    show_report(report, organization.name, evidence, as_json=as_json)


@app.command("activate")
@operation
async def activate(org: Org, reason: Reason = "", evidence: Evidence = "", as_json: Json = False) -> None:
    """Go live: check everything, and switch automation on if nothing failed. 1, and no change, where something did."""
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        report = await rollout_stub(calls).Activate(
            rollout.ActivateRequest(reason=reason, request_id=str(uuid4())),
            metadata=calls.organization(organization.organization_id),
            timeout=ROLLOUT_SECONDS,
        )
    show_report(report, organization.name, evidence, as_json=as_json)


@app.command("rollback")
@operation
async def rollback(org: Org, reason: Reason = "", evidence: Evidence = "", as_json: Json = False) -> None:
    """Go back: automation off, what waited taken back, messages still coming in. 1 where something is left to do."""
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        report = await rollout_stub(calls).RollBack(
            rollout.RollBackRequest(reason=reason, request_id=str(uuid4())),
            metadata=calls.organization(organization.organization_id),
            timeout=ROLLOUT_SECONDS,
        )
    show_report(report, organization.name, evidence, as_json=as_json)


@automation.command("on")
@operation
async def automation_on(org: Org, reason: Reason = "", as_json: Json = False) -> None:
    """Let replies, rounds and turns go on by themselves again, without any check."""
    await _automate(org, reason, enabled=True, as_json=as_json)


@automation.command("off")
@operation
async def automation_off(org: Org, reason: Reason = "", as_json: Json = False) -> None:
    """Let nothing be said automatically, and hand no turn on; messages go on coming in."""
    await _automate(org, reason, enabled=False, as_json=as_json)


async def _automate(org: str, reason: str, *, enabled: bool, as_json: bool) -> None:
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        settings = await calls.stub(SettingsServiceStub, "conversation").UpdateConversationSettings(
            settings_pb.UpdateConversationSettingsRequest(automation_enabled=enabled, reason=reason),
            metadata=calls.organization(organization.organization_id),
            timeout=CALL_SECONDS,
        )
    content = {
        "organization_id": organization.organization_id,
        "automation_enabled": settings.automation_enabled,
        "update_time": settings.update_time.ToJsonString() if settings.HasField("update_time") else None,
    }
    answer(content, [f"Automation is {'on' if enabled else 'off'}: {organization.name}"], as_json=as_json)
