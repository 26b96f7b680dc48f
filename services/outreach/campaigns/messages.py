"""What campaigns are over the wire: answers and facts."""

from __future__ import annotations

from collections import Counter

from chassis import wire
from chassis.canonical import Source
from chassis.enums import enum_number
from chassis.outbox import Fact
from prosa.outreach.v1 import campaign_service_pb2 as pb
from prosa.outreach.v1 import events_pb2
from prosa.v1 import options_pb2
from services.outreach.campaigns.domain import NOT_SENT, WAITING, Campaign, Tally, Touch
from services.outreach.campaigns.store import OPTED_OUT, REPLIED

_PREFIXES = {source.value: f"{source.value.lower()}:" for source in Source}


def campaign_message(kept: Campaign, tally: Tally) -> pb.Campaign:
    """A campaign with its counts."""
    reasons: Counter[str] = Counter()
    for (state, reason), count in tally.by_state.items():
        if reason and state in NOT_SENT:
            reasons[reason] += count
    return pb.Campaign(
        campaign_id=str(kept.id),
        organization_id=str(kept.organization_id),
        name=kept.name,
        contact_list_id=str(kept.contact_list_id),
        channel_id=str(kept.channel_id),
        text=kept.text,
        state=enum_number(pb.CampaignState, kept.state),
        reason=kept.reason,
        counts=_counts(tally),
        start_time=wire.to_timestamp(kept.start_time),
        end_time=wire.to_timestamp(kept.end_time),
        stop_on_reply=kept.stop_on_reply,
        actor=options_pb2.Actor(principal=kept.actor.principal, name=kept.actor.name),
        create_time=wire.to_timestamp(kept.create_time),
        etag=str(kept.version),
        reason_counts=[pb.ReasonCount(reason=reason, count=count) for reason, count in sorted(reasons.items())],
    )


def touch_message(touch: Touch) -> pb.Touch:
    """What became of one contact."""
    return pb.Touch(
        touch_id=str(touch.id),
        campaign_id=str(touch.campaign_id),
        contact_id=str(touch.contact_id),
        source=enum_number(options_pb2.Source, touch.source),
        conversation_key=key_of(touch),
        text=touch.text,
        state=enum_number(pb.TouchState, touch.state),
        reason=touch.reason,
        explanation=touch.explanation,
        retry_time=wire.to_timestamp(touch.retry_time),
        delivery_id=str(touch.delivery_id) if touch.hand_count else "",
        send_time=wire.to_timestamp(touch.send_time),
        reply_time=wire.to_timestamp(touch.reply_time),
        opted_out=touch.opted_out,
    )


def campaign_changed(kept: Campaign, tally: Tally) -> Fact:
    """The fact that a campaign went on."""
    fact = events_pb2.CampaignChanged(
        organization_id=str(kept.organization_id), campaign=campaign_message(kept, tally), version=kept.version
    )
    return Fact(kept.organization_id, fact)


def send_due(campaign: Campaign, touch: Touch) -> Fact:
    """The fact that a touch is to be sent."""
    fact = events_pb2.SendDue(
        send_id=str(touch.delivery_id),
        organization_id=str(touch.organization_id),
        send_class=options_pb2.SEND_CLASS_MARKETING,
        channel_id=str(campaign.channel_id),
        source=enum_number(options_pb2.Source, touch.source),
        contact_id=str(touch.contact_id),
        conversation_key=key_of(touch),
        text=touch.text,
        touch_id=str(touch.id),
        campaign_id=str(campaign.id),
        end_time=wire.to_timestamp(campaign.end_time),
    )
    return Fact(touch.organization_id, fact)


def send_withdrawn(touch: Touch) -> Fact:
    """The fact that what was due is not to be sent any more."""
    fact = events_pb2.SendWithdrawn(
        send_id=str(touch.delivery_id), organization_id=str(touch.organization_id), reason=touch.withdraw_reason
    )
    return Fact(touch.organization_id, fact)


def key_of(touch: Touch) -> str:
    """Whom it is for."""
    return conversation_key(touch.source, touch.external_id)


def conversation_key(source: str, external_id: str) -> str:
    """How conversations with an address are named."""
    return _PREFIXES[source] + external_id


def _counts(tally: Tally) -> pb.CampaignCounts:
    answered = tally.of(REPLIED), tally.of(OPTED_OUT)
    return pb.CampaignCounts(
        planned_count=tally.of(*{state for state, _ in tally.by_state}) - sum(answered),
        waiting_count=tally.of(*WAITING),
        sent_count=tally.of("SENT"),
        delivered_count=tally.of("DELIVERED"),
        read_count=tally.of("READ"),
        failed_count=tally.of("FAILED"),
        suppressed_count=tally.of("SUPPRESSED"),
        cancelled_count=tally.of("CANCELLED"),
        uncertain_count=tally.of("UNCERTAIN"),
        replied_count=answered[0],
        opted_out_count=answered[1],
    )
