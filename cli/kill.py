"""`prosa kill`: stops everything that is sent, for one organization or for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import grpc.aio
import typer

from cli.calls import CALL_SECONDS, Calls, open_calls
from cli.choosing import Org
from cli.failures import REFUSED, Refused, operation
from cli.organizations import find_organization
from cli.output import Json, answer
from prosa.outreach.v1 import send_service_pb2 as send
from prosa.outreach.v1.send_service_pb2_grpc import SendServiceStub

app = typer.Typer(help="The kill switch: whether anything may be sent at all.", no_args_is_help=True)

NO_ORGANIZATION = "00000000-0000-0000-0000-000000000000"
"""What a call is made for that is about all of them."""

Everywhere = Annotated[bool, typer.Option("--global", help="For every organization, until it is lifted with --global.")]


@app.command("on")
@operation
async def on(
    org: Org,
    reason: Annotated[str, typer.Option(help="Why, for whoever finds it on.")],
    everywhere: Everywhere = False,
    as_json: Json = False,
) -> None:
    """Stop sending: when it returns, no message begins to leave any more. What waits stays and goes on later."""
    async with open_calls() as calls:
        name, metadata = await _whose(calls, org, everywhere=everywhere)
        switch = await calls.stub(SendServiceStub, "outreach").EngageKillSwitch(
            send.EngageKillSwitchRequest(reason=reason, **{"global": everywhere}),
            metadata=metadata,
            timeout=CALL_SECONDS,
        )
    answer(switch_row(switch), _lines(name, switch), as_json=as_json)


@app.command("off")
@operation
async def off(
    org: Org,
    reason: Annotated[str, typer.Option(help="Why it may go on.")] = "",
    everywhere: Everywhere = False,
    as_json: Json = False,
) -> None:
    """Let messages leave again; what waited goes on under its limits."""
    async with open_calls() as calls:
        name, metadata = await _whose(calls, org, everywhere=everywhere)
        switch = await calls.stub(SendServiceStub, "outreach").LiftKillSwitch(
            send.LiftKillSwitchRequest(reason=reason, **{"global": everywhere}),
            metadata=metadata,
            timeout=CALL_SECONDS,
        )
    answer(switch_row(switch), _lines(name, switch), as_json=as_json)


@app.command("show")
@operation
async def show(org: Org, everywhere: Everywhere = False, as_json: Json = False) -> None:
    """Show whether it is on, since when and why."""
    async with open_calls() as calls:
        name, metadata = await _whose(calls, org, everywhere=everywhere)
        switch = await calls.stub(SendServiceStub, "outreach").GetKillSwitch(
            send.GetKillSwitchRequest(), metadata=metadata, timeout=CALL_SECONDS
        )
    answer(switch_row(switch), _lines(name, switch), as_json=as_json)


def switch_row(switch: send.KillSwitch) -> dict[str, Any]:
    """A switch as it is printed."""
    return {
        "organization_id": switch.organization_id or None,
        "engaged": switch.engaged,
        "engaged_globally": switch.engaged_globally,
        "reason": switch.reason,
        "actor": switch.actor.name or switch.actor.principal,
        "change_time": switch.change_time.ToJsonString() if switch.HasField("change_time") else None,
    }


async def _whose(calls: Calls, org: str, *, everywhere: bool) -> tuple[str, grpc.aio.Metadata]:
    """What the switch is called, and metadata of a call about it."""
    if not everywhere:
        organization = await find_organization(calls, org)
        return organization.name, calls.organization(organization.organization_id)
    if org:
        raise Refused("--global is for every organization: leave --org away.", exit_code=REFUSED)
    return "every organization", calls.organization(NO_ORGANIZATION)


def _lines(name: str, switch: send.KillSwitch) -> Sequence[str]:
    lines = [f"Sending is {'stopped' if switch.engaged else 'free'}: {name}"]
    if switch.HasField("change_time"):
        who = switch.actor.name or switch.actor.principal
        lines.append(f"  since   {switch.change_time.ToJsonString()}, by {who}")
    if switch.reason:
        lines.append(f"  reason  {switch.reason}")
    if switch.engaged_globally and switch.organization_id:
        lines.append("  The global kill switch is on too: nobody sends. `prosa kill show --global` says why.")
    return lines
