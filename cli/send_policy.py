"""`prosa send-policy`: what an organization allows itself to send, and when."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from cli.calls import CALL_SECONDS, open_calls
from cli.choosing import Org
from cli.failures import REFUSED, Refused, operation
from cli.organizations import find_organization
from cli.output import Json, answer
from prosa.outreach.v1 import send_service_pb2 as send
from prosa.outreach.v1.send_service_pb2_grpc import SendServiceStub

app = typer.Typer(help="How much an organization's numbers may send, and when.", no_args_is_help=True)

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
QUIET = re.compile(r"(?:(?P<days>[a-z,]+) )?(?P<start>[0-2]?\d:[0-5]\d)-(?P<end>[0-2]?\d:[0-5]\d)", re.ASCII)


@app.command("show")
@operation
async def show(org: Org, as_json: Json = False) -> None:
    """Show it."""
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        policy = await calls.stub(SendServiceStub, "outreach").GetSendPolicy(
            send.GetSendPolicyRequest(),
            metadata=calls.organization(organization.organization_id),
            timeout=CALL_SECONDS,
        )
    answer(policy_row(policy), _lines(organization.name, policy), as_json=as_json)


@app.command("set")
@operation
async def set_(
    org: Org,
    hour: Annotated[int | None, typer.Option(help="Messages of a number in any 60 minutes.")] = None,
    day: Annotated[int | None, typer.Option(help="Messages of a number on one day.")] = None,
    burst: Annotated[int | None, typer.Option(help="Messages of a number within --burst-seconds.")] = None,
    burst_seconds: Annotated[int | None, typer.Option(help="What --burst counts over.")] = None,
    number_gap: Annotated[int | None, typer.Option(help="Seconds between two messages of a number.")] = None,
    contact_gap: Annotated[int | None, typer.Option(help="Seconds between two messages to a contact.")] = None,
    reply_grace: Annotated[
        int | None, typer.Option(help="Seconds after the contact wrote in which answers are free of quiet hours.")
    ] = None,
    quiet: Annotated[
        list[str] | None,
        typer.Option(
            help="Quiet hours such as 21:00-08:00 or 'sat,sun 00:00-10:00'; repeated; replaces all there are."
        ),
    ] = None,
    no_quiet: Annotated[bool, typer.Option("--no-quiet", help="No quiet hours at all.")] = False,
    as_json: Json = False,
) -> None:
    """Change what is named; the rest stays. The next message obeys it."""
    if quiet and no_quiet:
        raise Refused("Say --quiet or --no-quiet, not both.", exit_code=REFUSED)
    numbers: dict[str, Any] = {
        "number_hour_limit": hour,
        "number_day_limit": day,
        "burst_limit": burst,
        "burst_seconds": burst_seconds,
        "number_gap_seconds": number_gap,
        "contact_gap_seconds": contact_gap,
        "reply_grace_seconds": reply_grace,
    }
    request = send.UpdateSendPolicyRequest(**{name: value for name, value in numbers.items() if value is not None})
    if quiet or no_quiet:
        request.quiet_hours.CopyFrom(send.QuietHoursSet(quiet_hours=[read_quiet(text) for text in quiet or ()]))
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        policy = await calls.stub(SendServiceStub, "outreach").UpdateSendPolicy(
            request, metadata=calls.organization(organization.organization_id), timeout=CALL_SECONDS
        )
    answer(policy_row(policy), _lines(organization.name, policy), as_json=as_json)


def read_quiet(text: str) -> send.QuietHours:
    """Quiet hours as they are typed. Raises Refused showing how."""
    found = QUIET.fullmatch(text.strip().lower())
    days = [day for day in (found["days"] or "").split(",") if day] if found else []
    if found is None or any(day not in WEEKDAYS for day in days):
        raise Refused(
            f"{text!r} are no quiet hours. Write 21:00-08:00, or with the days they begin on: 'sat,sun 00:00-10:00'.",
            exit_code=REFUSED,
        )
    return send.QuietHours(
        weekdays=[WEEKDAYS.index(day) + 1 for day in days],
        start_minute=_minute(found["start"]),
        end_minute=_minute(found["end"]),
    )


def policy_row(policy: send.SendPolicy) -> dict[str, Any]:
    """A policy as it is printed."""
    return {
        "quiet_hours": [_quiet(period) for period in policy.quiet_hours],
        "reply_grace_seconds": policy.reply_grace_seconds,
        "number_hour_limit": policy.number_hour_limit,
        "number_day_limit": policy.number_day_limit,
        "burst_limit": policy.burst_limit,
        "burst_seconds": policy.burst_seconds,
        "number_gap_seconds": policy.number_gap_seconds,
        "contact_gap_seconds": policy.contact_gap_seconds,
        "update_time": policy.update_time.ToJsonString() if policy.HasField("update_time") else None,
        "etag": policy.etag,
    }


def _lines(name: str, policy: send.SendPolicy) -> Sequence[str]:
    quiet = "; ".join(_quiet(period) for period in policy.quiet_hours) or "none"
    return [
        f"Send policy of {name}",
        f"  quiet hours  {quiet}, where the recipient is",
        f"  a number     {policy.number_hour_limit} an hour, {policy.number_day_limit} a day",
        f"               {policy.burst_limit} in {policy.burst_seconds} s, {policy.number_gap_seconds} s apart",
        f"  a contact    {policy.contact_gap_seconds} s apart",
        f"  answers      free of quiet hours for {policy.reply_grace_seconds} s after the contact wrote",
    ]


def _quiet(period: send.QuietHours) -> str:
    days = ",".join(WEEKDAYS[weekday - 1] for weekday in period.weekdays)
    return f"{days} {_clock(period.start_minute)}-{_clock(period.end_minute)}".strip()


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _minute(clock: str) -> int:
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)
