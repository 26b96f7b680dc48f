"""`prosa member`: who belongs to an organization."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from chassis.enums import enum_text
from cli.calls import CALL_SECONDS, Calls, all_pages, open_calls
from cli.choosing import Kind, Org, choose
from cli.confirming import confirm
from cli.failures import REFUSED, Refused, operation
from cli.organizations import find_organization
from cli.output import Json, answer, print_json, print_rows
from prosa.identity.v1 import member_service_pb2 as members
from prosa.identity.v1.member_service_pb2_grpc import MemberServiceStub
from prosa.v1 import options_pb2

MEMBER = Kind("member", ": the id or e-mail", "POST /api/v1/invitations", "prosa member list")
ROLES = [name.removeprefix("ROLE_").lower() for name, number in options_pb2.Role.items() if number]

Which = Annotated[str, typer.Argument(metavar="MEMBER", help="The member's e-mail or id.")]

app = typer.Typer(help="Members of an organization.", no_args_is_help=True)


def member_row(item: members.Member) -> dict[str, Any]:
    """A member as it is printed."""
    return {
        "user_id": item.user_id,
        "email": item.email,
        "role": enum_text(options_pb2.Role, item.role).lower(),
        "mfa_set_up": item.mfa_set_up,
        "last_sign_in_time": item.last_sign_in_time.ToJsonString() if item.HasField("last_sign_in_time") else None,
    }


@app.command("list")
@operation
async def list_(org: Org, as_json: Json = False) -> None:
    """List members by e-mail, with their roles."""
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        rows = [member_row(item) for item in await _all(calls, organization.organization_id)]
    if as_json:
        print_json({"members": rows})
        return
    print_rows(rows, ["user_id", "email", "role", "mfa_set_up", "last_sign_in_time"], empty="No member yet.")


@app.command("role")
@operation
async def role(
    which: Which,
    wanted: Annotated[str, typer.Argument(metavar="ROLE", help=f"One of {', '.join(ROLES)}.")],
    org: Org,
    as_json: Json = False,
) -> None:
    """Give a member another role; they are signed out, and sign in with it."""
    if wanted.lower() not in ROLES:
        raise Refused(
            f"{wanted!r} is no role. Say one of {', '.join(ROLES)}.", reason="ROLE_INVALID", exit_code=REFUSED
        )
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        chosen = await _choose(calls, organization.organization_id, which)
        changed = await calls.stub(MemberServiceStub, "identity").UpdateMember(
            members.UpdateMemberRequest(
                user_id=chosen.user_id, role=options_pb2.Role.Value(f"ROLE_{wanted.upper()}"), etag=chosen.etag
            ),
            metadata=calls.organization(organization.organization_id),
            timeout=CALL_SECONDS,
        )
    answer(member_row(changed), [f"{changed.email} is {wanted.lower()} now."], as_json=as_json)


@app.command("remove")
@operation
async def remove(
    which: Which,
    org: Org,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Remove a member: they are signed out at once. API keys that they know stay; revoke those with `prosa api-key`."""
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        chosen = await _choose(calls, organization.organization_id, which)
        if not yes:
            typer.echo(f"{chosen.email} leaves {organization.name}.", err=True)
            confirm()
        await calls.stub(MemberServiceStub, "identity").DeleteMember(
            members.DeleteMemberRequest(user_id=chosen.user_id),
            metadata=calls.organization(organization.organization_id),
            timeout=CALL_SECONDS,
        )
    answer(member_row(chosen), [f"Removed: {chosen.email}"], as_json=as_json)


async def _all(calls: Calls, organization_id: str) -> list[members.Member]:
    stub, metadata = calls.stub(MemberServiceStub, "identity"), calls.organization(organization_id)
    found: list[members.Member] = await all_pages(
        stub.ListMembers, members.ListMembersRequest(), "members", metadata=metadata
    )
    return found


async def _choose(calls: Calls, organization_id: str, wanted: str) -> members.Member:
    """The member with this id or e-mail. Raises Refused naming who there is."""
    found = {item.user_id: item for item in await _all(calls, organization_id)}
    return found[choose(wanted, [(item.user_id, item.email) for item in found.values()], kind=MEMBER)]
