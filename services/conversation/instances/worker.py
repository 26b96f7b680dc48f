"""Looks at each instance when it is due: makes it, connects it where somebody asked for it, and asks how it is.

The provider is asked here alone and never inside an RPC, so that nobody waits for it: once at a time for each number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal
from uuid import UUID

import structlog

from chassis.clock import Clock
from chassis.crypto import Vault
from chassis.db import Database, Tx
from chassis.outbox import Outbox
from chassis.queues.items import Dead, Done, Item, Outcome, Retry
from chassis.queues.worker import Fence, Handler
from services.conversation.instances import store
from services.conversation.instances.client import (
    Access,
    Answer,
    Away,
    Evolution,
    Refused,
    Taken,
    Told,
    Unknown,
    Wanted,
)
from services.conversation.instances.domain import (
    FAULT,
    PAIR_AGAIN,
    PROBE_EVERY,
    SEE_EVOLUTION,
    WAIT,
    Instance,
    State,
    miss_probe,
    move,
    next_look,
    shown,
    take_code,
    take_probe,
)
from services.conversation.instances.translation import (
    ACCESS_TOKEN_COLUMN,
    OWN_TOKEN_COLUMN,
    WEBHOOK_SECRET_COLUMN,
    instance_changed,
    open_qr,
    seal_qr,
    unseal,
)

logger = structlog.get_logger(__name__)

Step = Literal["create", "connect", "probe"]


class InstanceHandler(Handler[Item]):
    """Works on instances that are due."""

    def __init__(self, db: Database, outbox: Outbox, vault: Vault, evolution: Evolution, clock: Clock) -> None:
        self._db, self._outbox, self._vault, self._evolution, self._clock = db, outbox, vault, evolution, clock

    async def work(self, items: Sequence[Item], fence: Fence) -> Sequence[Outcome[Item]]:
        """One look at each, and when the next one is due."""
        return [await self._work(item) for item in items]

    async def record(self, tx: Tx, outcomes: Sequence[Outcome[Item]]) -> Sequence[Outcome[Item]]:
        """A number is never given up: nobody would look at it any more."""
        return [await self._give_up(tx, outcome) if isinstance(outcome, Dead) else outcome for outcome in outcomes]

    async def _give_up(self, tx: Tx, dead: Dead[Item]) -> Outcome[Item]:
        """Says that nothing is known of the number, and has it looked at again."""
        now = self._clock.now()
        instance = await store.find(tx, dead.item.organization_id, dead.item.item_id, lock=True)
        if instance is None or instance.state is State.FAILED:
            return dead
        unknown = State.UNREACHABLE if instance.made else State.CREATING
        await change_held(tx, self._outbox, instance, lambda held: move(held, unknown, now, FAULT, WAIT))
        return Retry(dead.item, now + PROBE_EVERY, dead.detail, counted=False, gives_way=True, reason=dead.reason)

    async def _work(self, item: Item) -> Outcome[Item]:
        async with self._db.transaction(item.organization_id) as tx:
            instance = await store.find(tx, item.organization_id, item.item_id)
        if instance is None or (instance.state is State.FAILED and not instance.connect_wanted):
            return Done(item)
        step: Step = "create" if not instance.made else "connect" if instance.connect_wanted else "probe"
        access, answer = await self._ask(instance, step)
        if isinstance(answer, Away):
            # For the operator, who may know; the number's owner is told less where its host is private.
            logger.info("evolution_away", instance_id=str(instance.instance_id), step=step, detail=answer.detail)
            answer = self._evolution.told(access, answer)
        after = await change_one(
            self._db, self._outbox, item.organization_id, item.item_id, partial(self._take, instance, step, answer)
        )
        if after is None or after.state is State.FAILED:
            return Done(item)
        return Retry(item, next_look(after, self._clock.now()), counted=False, gives_way=True)

    async def _ask(self, instance: Instance, step: Step) -> tuple[Access, Answer]:
        open_with = partial(unseal, self._vault, instance.organization_id)
        access = Access(
            instance.base_url,
            open_with(ACCESS_TOKEN_COLUMN, instance.access_token_sealed),
            instance.provider_instance_name,
        )
        if step == "connect":
            return access, await self._evolution.connect(access)
        if step == "probe":
            return access, await self._evolution.state(access)
        wanted = Wanted(
            own_token=open_with(OWN_TOKEN_COLUMN, instance.own_token_sealed),
            webhook_url=instance.webhook_url,
            webhook_secret=open_with(WEBHOOK_SECRET_COLUMN, instance.webhook_secret_sealed),
            phone=instance.wanted_phone,
        )
        return access, await self._make(access, wanted)

    async def _make(self, access: Access, wanted: Wanted) -> Answer:
        answer = await self._evolution.create(access, wanted)
        if not isinstance(answer, Taken):
            return answer
        ours = await self._evolution.is_ours(access, wanted.own_token)
        if isinstance(ours, Away):
            return ours
        if not ours:
            return Refused(
                "Evolution has another instance of this name.", "Connect the number again: it is given another name."
            )
        # It was made, and the answer lost: its webhook came with it, and is set once more because nothing shows it.
        return Taken() if await self._evolution.set_webhook(access, wanted) else Away("Its webhook could not be set.")

    def _take(self, asked: Instance, step: Step, answer: Answer, instance: Instance) -> None:
        """Changes an instance by an answer; what webhooks told meanwhile is newer than that."""
        now = self._clock.now()
        overtaken = instance.last_event_time != asked.last_event_time
        match answer:
            case Told() | Taken():
                instance.made = True
                instance.connect_wanted = instance.connect_wanted and step != "connect"
                told = answer if isinstance(answer, Told) else Told()
                if told.qr is not None and not overtaken:
                    code = take_code(instance, told.qr, open_qr(self._vault, instance), now)
                    instance.qr_sealed = seal_qr(self._vault, instance.organization_id, code)
                elif not overtaken:
                    take_probe(instance, told.state, now)
                else:
                    instance.last_probe_time, instance.failed_probes = now, 0
            case Unknown():
                instance.made, instance.connect_wanted = False, False
                move(instance, State.FAILED, now, "Evolution has no such instance any more.", PAIR_AGAIN)
            case Refused(cause, advice):
                instance.connect_wanted = False
                if step == "create":
                    move(instance, State.FAILED, now, cause, advice)
                else:
                    move(instance, State.UNREACHABLE, now, cause, advice)
            case Away(detail):
                if step == "create":
                    move(instance, State.CREATING, now, detail, SEE_EVOLUTION)
                else:
                    miss_probe(instance, now)


async def change_one(
    db: Database, outbox: Outbox, organization_id: UUID, instance_id: UUID, change: Callable[[Instance], None]
) -> Instance | None:
    """Changes one instance and tells of it; None where there is none any more."""
    async with db.transaction(organization_id) as tx:
        instance = await store.find(tx, organization_id, instance_id, lock=True)
        if instance is not None:
            await change_held(tx, outbox, instance, change)
    return instance


async def change_held(tx: Tx, outbox: Outbox, instance: Instance, change: Callable[[Instance], None]) -> None:
    """Changes an instance whose row is held, and tells of it where readers can tell."""
    before, previous = shown(instance), instance.state
    change(instance)
    told = shown(instance) != before
    if told:
        instance.version += 1
    await store.update(tx, instance)
    if told:
        await outbox.add(tx, [instance_changed(instance, previous)], instance.state_time)
