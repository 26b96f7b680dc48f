"""What the gate says over the wire: answers and facts."""

from __future__ import annotations

from uuid import UUID

from chassis import wire
from chassis.outbox import Fact
from prosa.outreach.v1 import events_pb2
from prosa.outreach.v1 import send_service_pb2 as pb
from prosa.v1 import options_pb2
from services.outreach.sending.kill_switch import KillSwitch
from services.outreach.sending.policy import QuietHours, SendPolicy
from services.outreach.sending.policy_store import NUMBERS
from services.outreach.sending.terms import TERMS_VERSION, terms_text
from services.outreach.sending.terms_store import Acceptance


def kill_switch_message(switch: KillSwitch, *, engaged_globally: bool) -> pb.KillSwitch:
    """A switch, and whether the global one is on."""
    return pb.KillSwitch(
        organization_id=wire.text(switch.organization_id),
        engaged=switch.engaged,
        reason=switch.reason,
        actor=options_pb2.Actor(principal=switch.actor.principal, name=switch.actor.name),
        change_time=wire.to_timestamp(switch.change_time),
        engaged_globally=engaged_globally,
    )


def kill_switch_changed(message: pb.KillSwitch, organization_id: UUID) -> Fact:
    """The fact that an organization, or under the nil id everybody, sends nothing any more, or sends again."""
    return Fact(
        organization_id, events_pb2.KillSwitchChanged(organization_id=str(organization_id), kill_switch=message)
    )


def policy_message(policy: SendPolicy) -> pb.SendPolicy:
    """A policy as it stands."""
    return pb.SendPolicy(
        organization_id=str(policy.organization_id),
        quiet_hours=[
            pb.QuietHours(weekdays=period.weekdays, start_minute=period.start_minute, end_minute=period.end_minute)
            for period in policy.quiet_hours
        ],
        update_time=wire.to_timestamp(policy.update_time),
        etag=str(policy.version),
        **{name: getattr(policy, name) for name in NUMBERS},
    )


def quiet_hours_of(wanted: pb.QuietHoursSet) -> tuple[QuietHours, ...]:
    """Quiet hours as they are asked for."""
    return tuple(
        QuietHours(tuple(sorted(set(period.weekdays))), period.start_minute, period.end_minute)
        for period in wanted.quiet_hours
    )


def terms_message(locale: str, accepted: Acceptance | None) -> pb.Terms:
    """The terms as they are now, and what was accepted last."""
    message = pb.Terms(terms_version=TERMS_VERSION, text=terms_text(locale))
    if accepted is not None:
        message.accepted_version = accepted.terms_version
        message.accepted_by.CopyFrom(options_pb2.Actor(principal=accepted.actor.principal, name=accepted.actor.name))
        wire.write_timestamp(message.accept_time, accepted.accept_time)
    return message


def policy_changed(policy: SendPolicy) -> Fact:
    """The fact that an organization allows itself something else now."""
    fact = events_pb2.SendPolicyChanged(
        organization_id=str(policy.organization_id), send_policy=policy_message(policy), version=policy.version
    )
    return Fact(policy.organization_id, fact)
