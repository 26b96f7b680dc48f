"""Sending: each channel's deliveries one after the other, each at most once.

What cannot be taken back is marked first: SENDING is committed, under the lane's fence and with all that may forbid it
looked at again, before the request begins. Whoever finds that mark knows that somebody died in between: the message may
have left, so it is UNCERTAIN from then on, is looked for at the provider, and never sent again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from chassis.clock import Clock
from chassis.crypto import SealBroken, Vault
from chassis.db import Database, Tx
from chassis.errors import InvalidArgument, ProsaError
from chassis.outgoing import Outgoing
from chassis.queues.items import Dead, Done, Item, Outcome, Retry
from chassis.queues.worker import Fence, Handler
from services.conversation.deliveries import account_store
from services.conversation.deliveries.queueing import Deliveries, cannot_send
from services.conversation.deliveries.reserving import Allowed, Denied, Later, Reserver, UsedBefore
from services.conversation.limits import AWAY_WAIT, KILLED_WAIT, LOOK_WAITS, UNREACHABLE_WAITS
from services.conversation.messages import delivery_store, store
from services.conversation.messages.domain.conversation import Conversation, HandoffMode, is_last
from services.conversation.messages.domain.delivery import Delivery, SendClass, Sent
from services.conversation.messages.domain.message import MessageState
from services.conversation.providers import SENDERS
from services.conversation.providers.sender import Account, Answer, NotBegun, Outbound, Refused, Sender, Taken
from services.conversation.settings import store as settings_store

OF_ONE_RECIPIENT = frozenset({"QUIET_HOURS", "GAP_CONTACT"})
"""What binds one message and not its channel: the channel's others pass meanwhile."""
AUTOMATIC = frozenset({SendClass.REPLY, SendClass.SCHEDULED})
"""What is said by itself, and not while an organization has automation switched off."""
SWITCHED_OFF = "Automation is switched off."
UNREADABLE = (
    "The connection's access_token cannot be read with the keys of this installation. Give the connection its "
    "access_token once more."
)
SILENT = "The provider gave no sign of it within a day, so whether it left is unknown. It is not sent again."
LEFT = frozenset({MessageState.SENT, MessageState.DELIVERED, MessageState.READ})

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class Known:
    """A delivery with all that is to be known to send it."""

    conversation: Conversation
    sent: Sent
    account: Account | None
    account_unreadable: bool
    """Whether there is one, which these keys do not open."""
    last_inbound: delivery_store.LastInbound | None

    @property
    def delivery(self) -> Delivery:
        """How it is sent."""
        return self.sent.delivery

    @property
    def sender(self) -> Sender | None:
        """The provider that it is sent through, None where nothing can be."""
        return None if self.account is None or not self.account.complete else SENDERS.get(self.account.provider)

    def outbound(self) -> Outbound:
        """The message, as a provider's sender is given it."""
        conversation, delivery = self.conversation, self.delivery
        return Outbound(
            delivery_id=UUID(delivery.delivery_id),
            channel_id=UUID(delivery.channel_id),
            text=self.sent.message.text,
            provider_conversation_id=conversation.provider_conversation_id,
            conversation_key=conversation.conversation_key,
            contact_phone=conversation.contact_phone,
            send_time=delivery.send_time or delivery.create_time,
        )


class Deliverer(Handler[Item]):
    """Sends what is due."""

    def __init__(
        self,
        db: Database,
        deliveries: Deliveries,
        reserver: Reserver,
        outgoing: Outgoing,
        vault: Vault,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db, self._deliveries, self._reserver, self._outgoing = db, deliveries, reserver, outgoing
        self._vault, self._clock, self._monotonic = vault, clock, monotonic

    async def work(self, items: Sequence[Item], fence: Fence) -> Sequence[Outcome[Item]]:
        """What became of each; they are of channels of their own."""
        return [await self._work(item, fence) for item in items]

    async def record(self, tx: Tx, outcomes: Sequence[Outcome[Item]]) -> Sequence[Outcome[Item]]:
        """Nothing leaves the queue unsettled: what is given up has failed, unless it may have left."""
        return [await self._give_up(tx, outcome) if isinstance(outcome, Dead) else outcome for outcome in outcomes]

    async def look(self, organization_id: UUID, delivery_id: UUID) -> Sent | None:
        """Looks at the provider for one that is UNCERTAIN. Raises Unavailable PROVIDER_UNAVAILABLE."""
        async with self._db.transaction(organization_id) as tx:
            known = await self._read(tx, organization_id, delivery_id)
        if known is None or known.delivery.state is not MessageState.UNCERTAIN:
            return None if known is None else known.sent
        sender, account = known.sender, known.account
        if sender is None or account is None or sender.find is None:
            return known.sent
        found = await sender.find(self._outgoing, account, known.outbound())
        if found is None:
            return known.sent
        return await self._settle(organization_id, delivery_id, found) or known.sent

    async def _work(self, item: Item, fence: Fence) -> Outcome[Item]:
        organization_id, delivery_id, now = item.organization_id, item.item_id, self._clock.now()
        async with self._db.transaction(organization_id) as tx:
            known = await self._read(tx, organization_id, delivery_id)
        if known is None:
            return Done(item)
        match known.delivery.state:
            case MessageState.QUEUED:
                return await self._send(item, known, fence)
            case MessageState.SENDING:
                # Somebody died between the mark and the answer.
                await self._uncertain(item, "Prosa was restarted while it asked the provider.", fence)
                await self._reserver.settle(known.delivery, used=True)
                return Retry(item, now + LOOK_WAITS[0], counted=False, gives_way=True)
            case MessageState.UNCERTAIN:
                return await self._look(item, known.delivery)
            case _:
                return Done(item)

    async def _send(self, item: Item, known: Known, fence: Fence) -> Outcome[Item]:
        delivery, now = known.delivery, self._clock.now()
        if now >= delivery.end_time:
            return await self._end(item, MessageState.CANCELLED, "TOO_LATE", "It waited until it was too late to send.")
        sender, account = known.sender, known.account
        if sender is None or account is None:
            explanation = UNREADABLE if known.account_unreadable else cannot_send().message
            return await self._end(item, MessageState.FAILED, "CHANNEL_CANNOT_SEND", explanation)
        last_inbound_time = None if known.last_inbound is None else known.last_inbound[1]
        try:
            decision = await self._reserver.ask(known.conversation, delivery, last_inbound_time)
        except InvalidArgument as error:
            return await self._end(item, MessageState.FAILED, error.reason, error.message)
        except ProsaError as error:
            logger.warning("outreach_not_asked", reason=error.reason, delivery_id=delivery.delivery_id)
            return Retry(item, min(now + AWAY_WAIT, delivery.end_time), counted=False)
        match decision:
            case Denied():
                return await self._end(item, MessageState.SUPPRESSED, decision.reason, decision.explanation)
            case Later():
                return await self._wait(item, decision)
            case UsedBefore():
                # The mark was lost, as with an older state of the database: something may have left.
                await self._uncertain(item, "Outreach knows of a request that is not known here.", fence)
                return Retry(item, now + LOOK_WAITS[0], counted=False, gives_way=True)
            case Allowed():
                marked = await self._mark(item, decision, fence)
        if isinstance(marked, Sent):
            # Taken back, or out of date, since it was asked.
            attempted = marked.delivery
            attempted.attempt_count = delivery.attempt_count + 1
            await self._reserver.settle(attempted, used=False)
            return Done(item)
        left = decision.start_before - self._monotonic()
        answer: Answer = NotBegun("")
        if left > 0:
            answer = await sender.send(self._outgoing, account, marked.outbound(), left)
        return await self._answered(item, marked.delivery, answer, in_time=left > 0)

    async def _mark(self, item: Item, allowed: Allowed, fence: Fence) -> Known | Sent:
        """Marks that the request begins; what was cancelled instead is answered without all else."""
        now = self._clock.now()
        async with self._db.transaction(item.organization_id) as tx:
            await fence(tx)
            known = await self._read(tx, item.organization_id, item.item_id, lock=True)
            assert known is not None, "a delivery is never deleted"
            delivery = known.delivery
            if delivery.state is not MessageState.QUEUED:
                return known.sent
            forbidden = forbids(known) or await _switched_off(tx, known.delivery)
            if forbidden is not None:
                delivery.settle(MessageState.CANCELLED, now, *forbidden)
                await self._deliveries.write(tx, known.conversation, known.sent, now)
                return known.sent
            delivery.state, delivery.reason, delivery.explanation = MessageState.SENDING, "", ""
            delivery.attempt_count += 1
            delivery.reservation_id, delivery.send_time, delivery.retry_time = allowed.reservation_id, now, None
            known.conversation.last_send_time = now
            await self._deliveries.write(tx, known.conversation, known.sent, now, told=False)
        return known

    async def _answered(self, item: Item, delivery: Delivery, answer: Answer, *, in_time: bool) -> Outcome[Item]:
        organization_id, delivery_id, now = item.organization_id, item.item_id, self._clock.now()
        if isinstance(answer, NotBegun):
            await self._reserver.settle(delivery, used=False)
            wait = UNREACHABLE_WAITS[min(delivery.attempt_count, len(UNREACHABLE_WAITS)) - 1]
            # Only too slow to begin: it is asked for again at once.
            at = min(now + wait, delivery.end_time) if in_time else now
            async with self._db.transaction(organization_id) as tx:
                known = await self._read(tx, organization_id, delivery_id, lock=True)
                if known is not None and known.delivery.state is MessageState.SENDING:
                    reason = "PROVIDER_UNREACHABLE" if in_time else ""
                    known.delivery.waits(reason, answer.detail, at if in_time else None)
                    await self._deliveries.write(tx, known.conversation, known.sent, now, told=in_time)
            return Retry(item, at, answer.detail, counted=False)
        settled = await self._settle(organization_id, delivery_id, answer)
        await self._reserver.settle(delivery, used=True)
        if settled is not None and settled.delivery.state is MessageState.UNCERTAIN:
            return Retry(item, now + LOOK_WAITS[0], counted=False, gives_way=True)
        return Done(item)

    async def _settle(self, organization_id: UUID, delivery_id: UUID, answer: Answer) -> Sent | None:
        """Writes what the provider says, unless an echo has said it before."""
        now = self._clock.now()
        async with self._db.transaction(organization_id) as tx:
            known = await self._read(tx, organization_id, delivery_id, lock=True)
            if known is None or known.delivery.state not in (MessageState.SENDING, MessageState.UNCERTAIN):
                return None if known is None else known.sent
            delivery = known.delivery
            if isinstance(answer, Taken):
                await self._taken(tx, known, answer, now)
            elif isinstance(answer, Refused):
                delivery.settle(MessageState.FAILED, now, answer.reason, answer.explanation)
                await self._deliveries.write(tx, known.conversation, known.sent, now)
            elif delivery.state is MessageState.SENDING:
                delivery.settle(MessageState.UNCERTAIN, now, "PROVIDER_SILENT", answer.detail)
                await self._deliveries.write(tx, known.conversation, known.sent, now)
        return known.sent

    async def _taken(self, tx: Tx, known: Known, taken: Taken, now: datetime) -> None:
        message, delivery, conversation = known.sent.message, known.delivery, known.conversation
        last = is_last(conversation, message)
        message.provider_message_id = taken.provider_message_id
        message.provider_source_id = taken.network_id or message.provider_source_id
        message.record_time = now
        if last:
            conversation.last_provider_message_id = taken.provider_message_id
        delivery.network_id = taken.network_id
        delivery.settle(MessageState.SENT, now)
        await delivery_store.name_sent(tx, message, taken.network_id, now)
        await self._deliveries.write(tx, conversation, known.sent, now, first=True)

    async def _uncertain(self, item: Item, explanation: str, fence: Fence) -> None:
        now = self._clock.now()
        async with self._db.transaction(item.organization_id) as tx:
            await fence(tx)
            known = await self._read(tx, item.organization_id, item.item_id, lock=True)
            if known is None or known.delivery.state not in (MessageState.QUEUED, MessageState.SENDING):
                return
            known.delivery.send_time = known.delivery.send_time or now
            known.delivery.settle(MessageState.UNCERTAIN, now, "PROVIDER_SILENT", explanation)
            await self._deliveries.write(tx, known.conversation, known.sent, now)

    async def _look(self, item: Item, delivery: Delivery) -> Outcome[Item]:
        organization_id, delivery_id = item.organization_id, item.item_id
        try:
            looked = await self.look(organization_id, delivery_id)
        except ProsaError as error:
            logger.info("provider_not_looked_at", reason=error.reason, delivery_id=delivery.delivery_id)
        else:
            if looked is None or looked.delivery.state is not MessageState.UNCERTAIN:
                return Done(item)
        now = self._clock.now()
        async with self._db.transaction(organization_id) as tx:
            known = await self._read(tx, organization_id, delivery_id, lock=True)
            if known is None or known.delivery.state is not MessageState.UNCERTAIN:
                return Done(item)
            return await self._looked_in_vain(tx, item, known.conversation, known.sent, now)

    async def _looked_in_vain(
        self, tx: Tx, item: Item, conversation: Conversation, sent: Sent, now: datetime
    ) -> Outcome[Item]:
        """Counts a look at what stays UNCERTAIN; when it is looked at again, or that it was the last time."""
        delivery = sent.delivery
        delivery.look_count += 1
        if delivery.look_count < len(LOOK_WAITS):
            await delivery_store.update(tx, [delivery])
            return Retry(item, now + LOOK_WAITS[delivery.look_count], counted=False, gives_way=True)
        delivery.settle(MessageState.FAILED, now, "PROVIDER_SILENT", SILENT)
        await self._deliveries.write(tx, conversation, sent, now)
        return Done(item)

    async def _give_up(self, tx: Tx, dead: Dead[Item]) -> Outcome[Item]:
        """Settles a delivery that cannot be worked on; what may have left is looked at like any other such."""
        item, now = dead.item, self._clock.now()
        found = await _hold(tx, item.organization_id, item.item_id)
        if found is None:
            return dead
        conversation, sent = found
        delivery = sent.delivery
        match delivery.state:
            case MessageState.QUEUED:
                delivery.settle(MessageState.FAILED, now, dead.reason, dead.detail)
                await self._deliveries.write(tx, conversation, sent, now)
            case MessageState.SENDING:
                delivery.settle(MessageState.UNCERTAIN, now, "PROVIDER_SILENT", dead.detail)
                await self._deliveries.write(tx, conversation, sent, now)
                return Retry(item, now + LOOK_WAITS[0], dead.detail, counted=False, gives_way=True, reason=dead.reason)
            case MessageState.UNCERTAIN:
                return await self._looked_in_vain(tx, item, conversation, sent, now)
        return dead

    async def _end(self, item: Item, state: MessageState, reason: str, explanation: str) -> Outcome[Item]:
        now = self._clock.now()
        async with self._db.transaction(item.organization_id) as tx:
            known = await self._read(tx, item.organization_id, item.item_id, lock=True)
            if known is not None and known.delivery.state is MessageState.QUEUED:
                known.delivery.settle(state, now, reason, explanation)
                await self._deliveries.write(tx, known.conversation, known.sent, now)
        return Done(item)

    async def _wait(self, item: Item, later: Later) -> Outcome[Item]:
        now = self._clock.now()
        async with self._db.transaction(item.organization_id) as tx:
            known = await self._read(tx, item.organization_id, item.item_id, lock=True)
            if known is None or known.delivery.state is not MessageState.QUEUED:
                return Done(item)
            delivery = known.delivery
            news = delivery.reason != later.reason
            if news or delivery.retry_time != later.retry_time:
                delivery.waits(later.reason, later.explanation, later.retry_time)
                await self._deliveries.write(tx, known.conversation, known.sent, now, told=news)
        at = min(max(later.retry_time or now + KILLED_WAIT, now), delivery.end_time)
        return Retry(item, at, later.reason, counted=False, gives_way=later.reason in OF_ONE_RECIPIENT)

    async def _read(self, tx: Tx, organization_id: UUID, delivery_id: UUID, *, lock: bool = False) -> Known | None:
        found = await _hold(tx, organization_id, delivery_id, lock=lock)
        if found is None:
            return None
        conversation, sent = found
        sealed = await account_store.find(tx, organization_id, UUID(sent.delivery.connection_id))
        account, unreadable = None, False
        if sealed is not None:
            try:
                account = account_store.opened(sealed, self._vault)
            except SealBroken:
                logger.exception("access_token_unreadable", connection_id=sent.delivery.connection_id)
                unreadable = True
        last_inbound = await delivery_store.last_inbound(tx, organization_id, UUID(conversation.conversation_id))
        return Known(conversation, sent, account, unreadable, last_inbound)


async def _hold(
    tx: Tx, organization_id: UUID, delivery_id: UUID, *, lock: bool = True
) -> tuple[Conversation, Sent] | None:
    """A delivery and its conversation, which ``lock`` keeps as they are until commit."""
    sent = await delivery_store.find(tx, organization_id, delivery_id)
    if sent is None:
        return None
    conversation_id = UUID(sent.delivery.conversation_id)
    conversation = await store.find_conversation(tx, organization_id, conversation_id, lock=lock)
    if lock:
        # Whoever changes a delivery holds its conversation, so what is read now stays.
        sent = await delivery_store.find(tx, organization_id, delivery_id)
    assert conversation is not None, "a conversation is never deleted"
    assert sent is not None, "a delivery is never deleted"
    return conversation, sent


async def _switched_off(tx: Tx, delivery: Delivery) -> tuple[str, str] | None:
    """Why nothing automatic is sent for the organization, None where it may be."""
    if delivery.send_class not in AUTOMATIC:
        return None
    settings = await settings_store.find(tx, UUID(delivery.organization_id))
    return None if settings.automation_enabled else ("AUTOMATION_OFF", SWITCHED_OFF)


def forbids(known: Known) -> tuple[str, str] | None:
    """Why an automatic reply is out of date, None where it is not."""
    delivery, conversation = known.delivery, known.conversation
    if delivery.send_class is not SendClass.REPLY:
        return None
    if conversation.handoff_mode is HandoffMode.HUMAN:
        return "HANDOFF_HUMAN", "A person has the conversation, so no automatic reply is sent."
    if known.last_inbound and known.last_inbound.answered:
        return "PERSON_ANSWERED", "Somebody of the staff has answered since, so no automatic reply is sent."
    if delivery.answers_message_id and known.last_inbound and known.last_inbound[0] != delivery.answers_message_id:
        return "NEWER_MESSAGE", "The contact wrote again since, so this reply is out of date."
    return None
