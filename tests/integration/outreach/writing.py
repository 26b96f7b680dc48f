"""What contacts write and whom identity makes one, told to outreach's handlers in transactions of the test's own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.outbox import Outbox
from chassis.redirects import Redirects
from chassis.subscriptions import ConsumedEvent
from prosa.conversation.v1 import conversation_service_pb2 as conversation_pb
from prosa.conversation.v1.events_pb2 import MessageReceived, MessageSent
from prosa.identity.v1 import contact_service_pb2 as contact_pb
from prosa.identity.v1.events_pb2 import ContactMergeUndone, ContactsMerged
from prosa.ingest.v1.connection_service_pb2 import Channel as ChannelMessage
from prosa.ingest.v1.events_pb2 import ChannelCreated
from prosa.outreach.v1 import outreach_service_pb2 as pb
from prosa.outreach.v1.outreach_service_pb2_grpc import OutreachServiceStub
from prosa.v1 import options_pb2
from services.outreach.campaigns import store as campaign_store
from services.outreach.campaigns.channels import on_channel_created
from services.outreach.campaigns.domain import Campaign, CampaignState
from services.outreach.campaigns.following import Touches
from services.outreach.campaigns.running import CAMPAIGNS
from services.outreach.lists.domain import Member
from services.outreach.opt_outs.consumer import OptOuts
from services.outreach.sending.kill_switch import Actor
from tests.integration.identity.cast import given_contact
from tests.world import World

if TYPE_CHECKING:
    from prosa.outreach.v1.outreach_service_pb2_grpc import OutreachServiceAsyncStub

Told = ConsumedEvent[MessageReceived]


class Writing:
    """Contacts of one organization, and what outreach makes of what they write."""

    def __init__(self, world: World, organization_id: UUID) -> None:
        self.world, self.organization_id = world, organization_id
        self.db = world.database("outreach")
        outbox = Outbox("outreach", world.host.ids, lambda: None)
        self.touches = Touches(outbox, CAMPAIGNS, world.clock)
        self.opt_outs = OptOuts(outbox, self.touches, world.clock, world.host.ids)
        self.redirects = Redirects("outreach")

    def said(
        self, text: str, external_id: str, contact_id: UUID | None = None, ago: timedelta = timedelta(minutes=1)
    ) -> Told:
        """What somebody wrote on WhatsApp, some time ago."""
        stamp = Timestamp()
        stamp.FromDatetime(self.world.clock.now() - ago)
        message = MessageReceived(
            organization_id=str(self.organization_id),
            contact_id=str(contact_id or ""),
            conversation_key=f"whatsapp:{external_id}",
            source=options_pb2.SOURCE_WHATSAPP,
            channel_id=str(uuid4()),
            message=conversation_pb.Message(
                message_id=str(uuid4()),
                text=text,
                direction=conversation_pb.MESSAGE_DIRECTION_INBOUND,
                author=conversation_pb.MESSAGE_AUTHOR_CONTACT,
                create_time=stamp,
            ),
        )
        return ConsumedEvent(message, uuid4(), self.organization_id, self.world.clock.now(), "")

    async def heard(self, *events: Told) -> None:
        """Opt-outs are given messages, in one batch."""
        async with self.db.transaction(*{event.organization_id for event in events}) as tx:
            await self.opt_outs.on_message_received(tx, events)

    async def answered(self, *events: Told) -> None:
        """Campaigns are given messages, in one batch."""
        async with self.db.transaction(*{event.organization_id for event in events}) as tx:
            await self.touches.on_message_received(tx, events)

    async def left(self, *campaign_ids: UUID) -> None:
        """Campaigns are given what left of their touches, in one batch."""
        events = []
        for row in await self.world.rows(
            "select organization_id, id from outreach.touches where campaign_id = any (%s)"
            " order by array_position(%s::uuid[], campaign_id)",
            *(list(campaign_ids), list(campaign_ids)),
        ):
            delivery = conversation_pb.Delivery(
                delivery_id=str(row["id"]),
                cause=f"touch:{row['id']}",
                state=conversation_pb.MESSAGE_STATE_SENT,
                version=1,
            )
            sent = MessageSent(message=conversation_pb.Message(delivery=delivery))
            events.append(ConsumedEvent(sent, uuid4(), row["organization_id"], self.world.clock.now(), ""))
        async with self.db.transaction(*{event.organization_id for event in events}) as tx:
            await self.touches.on_message_sent(tx, events)

    async def merged(self, survivor: UUID, *losers: UUID) -> None:
        """Identity made contacts one."""
        redirects = [
            contact_pb.ContactRedirect(contact_id=str(loser), surviving_contact_id=str(survivor), version=1)
            for loser in losers
        ]
        fact = ContactsMerged(organization_id=str(self.organization_id), redirects=redirects)
        async with self.db.transaction(self.organization_id) as tx:
            await self.redirects.handle(
                tx, [ConsumedEvent(fact, uuid4(), self.organization_id, self.world.clock.now(), "")]
            )

    async def moved(self, survivor: UUID, loser: UUID, *phones: str) -> contact_pb.ContactMerge:
        """Identity made two contacts one now, and opt-outs are told which addresses that gave to the survivor."""
        merge = contact_pb.ContactMerge(
            contact_merge_id=str(uuid4()),
            organization_id=str(self.organization_id),
            surviving_contact_id=str(survivor),
            losing_contact_id=str(loser),
            moved_identities=[contact_pb.ContactIdentity(conversation_key=f"whatsapp:{phone}") for phone in phones],
        )
        merge.create_time.FromDatetime(self.world.clock.now())
        fact = ContactsMerged(organization_id=str(self.organization_id), contact_merge=merge)
        event = ConsumedEvent(fact, uuid4(), self.organization_id, self.world.clock.now(), "")
        async with self.db.transaction(self.organization_id) as tx:
            await self.opt_outs.on_contacts_merged(tx, [event])
        return merge

    async def undone(self, merge: contact_pb.ContactMerge) -> None:
        """Opt-outs are told that a merge was undone."""
        fact = ContactMergeUndone(organization_id=str(self.organization_id), contact_merge=merge)
        event = ConsumedEvent(fact, uuid4(), self.organization_id, self.world.clock.now(), "")
        async with self.db.transaction(self.organization_id) as tx:
            await self.opt_outs.on_contact_merge_undone(tx, [event])

    async def channel(self) -> str:
        """A number behind Evolution that ingest told of; its channel's id."""
        channel_id = str(uuid4())
        told = ChannelMessage(channel_id=channel_id, source=options_pb2.SOURCE_WHATSAPP, evolution_instance="prosa-1")
        fact = ChannelCreated(organization_id=str(self.organization_id), channel=told)
        async with self.db.transaction(self.organization_id) as tx:
            await on_channel_created(
                tx, [ConsumedEvent(fact, uuid4(), self.organization_id, self.world.clock.now(), "")]
            )
        return channel_id

    async def campaign(self, *members: tuple[UUID, str]) -> UUID:
        """A campaign that is planned to contacts at their numbers; nobody hands it over."""
        now, ids = self.world.clock.now(), self.world.host.ids
        made = Campaign(
            *(self.organization_id, ids.new(), "Pão", uuid4(), uuid4(), "Oi", Actor("user:1", "Dona"), now),
            state=CampaignState.RUNNING,
        )
        planned = [
            (ids.new(), Member(ids.new(), contact_id, "WHATSAPP", external_id, "Ana", now), "Oi")
            for contact_id, external_id in members
        ]
        async with self.db.transaction(self.organization_id) as tx:
            await campaign_store.insert_campaign(tx, made)
            await campaign_store.insert_touches(tx, made, planned)
        return made.id

    async def sent(self, campaign_id: UUID, ago: timedelta) -> None:
        """The campaign's touches left some time ago."""
        await self._execute(
            "update outreach.touches set state = 'SENT', hand_count = 1, send_time = %s where campaign_id = %s",
            *(self.world.clock.now() - ago, campaign_id),
        )

    async def touched(self, campaign_id: UUID) -> dict[UUID, tuple[str, bool, bool]]:
        """By contact: the state of the touch, whether it was answered, and whether they opted out of it."""
        found = await self.world.rows(
            "select contact_id, state, reply_time is not null as answered, opted_out from outreach.touches"
            " where campaign_id = %s",
            campaign_id,
        )
        return {row["contact_id"]: (row["state"], row["answered"], row["opted_out"]) for row in found}

    async def suppress(self, external_id: str, contact_id: UUID | None = None, reason: str = "Pediu") -> pb.Suppression:
        """Somebody of the staff suppresses an address."""
        if contact_id is not None:
            await given_contact(self.world, self.organization_id, contact_id)
        return await self._staff.CreateSuppression(
            pb.CreateSuppressionRequest(
                source=options_pb2.SOURCE_WHATSAPP,
                external_id=external_id,
                contact_id=str(contact_id or ""),
                reason=reason,
            )
        )

    async def lift(self, suppression: pb.Suppression) -> None:
        """Somebody of the staff ends a suppression."""
        await self._staff.LiftSuppression(
            pb.LiftSuppressionRequest(suppression_id=suppression.suppression_id, reason="Voltou")
        )

    async def held(self, contact_id: UUID | None = None) -> Sequence[pb.Suppression]:
        """The suppressions that hold, of all or of one contact, newest first."""
        request = pb.ListSuppressionsRequest(contact_id=str(contact_id or ""))
        return (await self._staff.ListSuppressions(request)).suppressions

    @property
    def _staff(self) -> OutreachServiceAsyncStub:
        return self.world.as_user(self.organization_id).stub(OutreachServiceStub)

    async def _execute(self, statement: str, *parameters: object) -> None:
        async with await self.world.admin() as connection:
            await connection.execute(statement, parameters)
