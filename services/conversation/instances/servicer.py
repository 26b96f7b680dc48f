"""InstanceService: translate, call, translate."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import grpc.aio

from chassis import auth, wire
from chassis.clock import Clock
from chassis.crypto import Vault
from chassis.db import Database, Tx
from chassis.enums import wanted_text
from chassis.errors import FailedPrecondition, NotFound, ProsaError, to_status
from chassis.outbox import Outbox
from chassis.paging import read_page
from chassis.queues.items import Place
from chassis.queues.queue import Queue
from prosa.conversation.v1 import instance_service_pb2 as pb
from prosa.conversation.v1 import instance_service_pb2_grpc as pb_grpc
from services.conversation.deliveries import account_store
from services.conversation.deliveries.account_store import SealedAccount
from services.conversation.instances import store
from services.conversation.instances.domain import Instance, Report, State, elsewhere, move, take_access, take_report
from services.conversation.instances.drawing import qr_svg
from services.conversation.instances.translation import (
    ACCESS_TOKEN_COLUMN,
    OWN_TOKEN_COLUMN,
    WEBHOOK_SECRET_COLUMN,
    instance_changed,
    instance_message,
    open_qr,
    seal,
    seal_qr,
    unseal,
)
from services.conversation.instances.worker import change_held

Context = grpc.aio.ServicerContext[Any, Any]
OWN_TOKEN_BYTES = 24
PROVIDER = "EVOLUTION"


def draw_token() -> str:
    """An instance's own token, which nobody guesses."""
    return secrets.token_hex(OWN_TOKEN_BYTES).upper()


class InstanceServicer(pb_grpc.InstanceServiceServicer):
    """Numbers of one organization."""

    def __init__(
        self,
        db: Database,
        outbox: Outbox,
        vault: Vault,
        clock: Clock,
        queue: Queue,
        draw_token: Callable[[], str] = draw_token,
    ) -> None:
        self._db, self._outbox, self._vault, self._clock = db, outbox, vault, clock
        self._queue, self._draw_token = queue, draw_token

    async def CreateInstance(self, request: pb.CreateInstanceRequest, context: Context) -> pb.Instance:
        organization_id, now = auth.organization_id(), self._clock.now()
        own_token = self._draw_token()
        instance = Instance(
            organization_id=organization_id,
            instance_id=wire.to_uuid("instance_id", request.instance_id),
            connection_id=wire.to_uuid("connection_id", request.connection_id),
            channel_id=wire.to_uuid("channel_id", request.channel_id),
            name=request.name,
            provider_instance_name=request.provider_instance_name,
            base_url=request.base_url,
            webhook_url=request.webhook_url,
            wanted_phone=request.phone,
            access_token_sealed=seal(self._vault, organization_id, ACCESS_TOKEN_COLUMN, request.access_token),
            webhook_secret_sealed=seal(self._vault, organization_id, WEBHOOK_SECRET_COLUMN, request.webhook_secret),
            own_token_sealed=seal(self._vault, organization_id, OWN_TOKEN_COLUMN, own_token),
            state=State.CREATING,
            state_time=now,
            create_time=now,
            cause="Evolution is being asked to make it.",
        )
        async with self._db.transaction(organization_id) as tx:
            if await store.insert(tx, instance):
                await account_store.put(tx, self._account(instance, own_token))
                await self._outbox.add(tx, [instance_changed(instance, None)], now)
                await self._look_now(tx, instance)
            kept = await store.find(tx, organization_id, instance.instance_id)
        if kept is None:
            # Its channel or its name is another one's, which only a caller could do that drew neither.
            raise _no_instance()
        return instance_message(kept)

    async def ChangeInstanceAccess(self, request: pb.ChangeInstanceAccessRequest, context: Context) -> pb.Instance:
        organization_id, now = auth.organization_id(), self._clock.now()
        connection_id = wire.to_uuid("connection_id", request.connection_id)
        async with self._db.transaction(organization_id) as tx:
            instance = (await store.lock_of_connections(tx, [connection_id])).get(connection_id)
            if instance is None:
                raise _no_instance()
            own_token = unseal(self._vault, organization_id, OWN_TOKEN_COLUMN, instance.own_token_sealed)
            if elsewhere(instance.base_url, request.base_url):
                # Whoever is asked from now on is not told what opens the number where it was.
                own_token = self._draw_token()

            def correct(held: Instance) -> None:
                held.own_token_sealed = seal(self._vault, organization_id, OWN_TOKEN_COLUMN, own_token)
                held.access_token_sealed = seal(self._vault, organization_id, ACCESS_TOKEN_COLUMN, request.access_token)
                take_access(held, request.base_url, now)

            account = self._account(replace(instance, base_url=request.base_url), own_token, request.version)
            if await account_store.put(tx, account):
                await change_held(tx, self._outbox, instance, correct)
                await self._look_now(tx, instance)
        return instance_message(instance)

    async def GetInstance(self, request: pb.GetInstanceRequest, context: Context) -> pb.Instance:
        organization_id = auth.organization_id()
        async with self._db.transaction(organization_id) as tx:
            return instance_message(await self._find(tx, organization_id, request.instance_id))

    async def ListInstances(self, request: pb.ListInstancesRequest, context: Context) -> pb.ListInstancesResponse:
        organization_id, page = auth.organization_id(), read_page(request, key_length=2)
        state = wanted_text(pb.InstanceState, request.state)
        after_id = page.after_id()
        after = None if page.after is None else (page.after[0], str(after_id))
        async with self._db.transaction(organization_id) as tx:
            instances = await store.list_instances(tx, organization_id, state, after, page.size + 1)
        shown, token = page.cut(instances, lambda instance: (instance.name, instance.instance_id))
        return pb.ListInstancesResponse(instances=map(instance_message, shown), next_page_token=token)

    async def GetInstanceQr(self, request: pb.GetInstanceQrRequest, context: Context) -> pb.InstanceQr:
        organization_id, now = auth.organization_id(), self._clock.now()
        async with self._db.transaction(organization_id) as tx:
            instance = await self._find(tx, organization_id, request.instance_id)
        if instance.state is State.OPEN:
            raise FailedPrecondition("INSTANCE_OPEN", "The number is connected: there is nothing to scan.")
        code, expire_time = open_qr(self._vault, instance), instance.qr_expire_time
        if code is None or expire_time is None or expire_time <= now:
            raise FailedPrecondition(
                "QR_NOT_READY",
                "There is no code to scan now. Wait for InstanceChanged, or ask for a connection with ConnectInstance.",
            )
        return pb.InstanceQr(
            instance_id=str(instance.instance_id),
            code=code.code,
            qr_svg=qr_svg(code.code),
            pairing_code=code.pairing_code,
            expire_time=wire.to_timestamp(expire_time),
            qr_count=instance.qr_count,
        )

    async def ConnectInstance(self, request: pb.ConnectInstanceRequest, context: Context) -> pb.Instance:
        organization_id, now = auth.organization_id(), self._clock.now()

        def want(instance: Instance) -> None:
            instance.connect_wanted = True
            if instance.state is State.FAILED:
                move(instance, State.CREATING, now, "Evolution is being asked to make it.")

        async with self._db.transaction(organization_id) as tx:
            instance = await self._find(tx, organization_id, request.instance_id, lock=True)
            waits = instance.qr_expire_time is not None and instance.qr_expire_time > now
            # What is under way, or needs nothing, is answered as it is: Evolution takes no haste.
            if not instance.connect_wanted and not waits and instance.state not in (State.OPEN, State.CREATING):
                await change_held(tx, self._outbox, instance, want)
                await self._look_now(tx, instance)
            return instance_message(instance)

    async def BatchRecordInstanceReports(
        self, request: pb.BatchRecordInstanceReportsRequest, context: Context
    ) -> pb.BatchRecordInstanceReportsResponse:
        organizations = {wire.to_uuid("organization_id", report.organization_id) for report in request.reports}
        connections = [wire.to_uuid("connection_id", report.connection_id) for report in request.reports]
        answer = pb.BatchRecordInstanceReportsResponse()
        async with self._db.transaction(*sorted(organizations)) as tx:
            held = await store.lock_of_connections(tx, connections)
            for report, connection_id in zip(request.reports, connections, strict=True):
                result, instance = answer.results.add(), held.get(connection_id)
                if instance is None or str(instance.organization_id) != report.organization_id:
                    result.CopyFrom(to_status(_no_instance()))
                else:
                    await self._take(tx, instance, _read(report))
        return answer

    async def _take(self, tx: Tx, instance: Instance, report: Report) -> None:
        def take(held: Instance) -> None:
            kept = open_qr(self._vault, held)
            code = take_report(held, report, kept)
            if code is not None and code != kept:
                held.qr_sealed = seal_qr(self._vault, held.organization_id, code)

        await change_held(tx, self._outbox, instance, take)

    def _account(self, instance: Instance, own_token: str, version: int = 1) -> SealedAccount:
        """What the number's messages are sent with: its own token, which can do no more than that."""
        return SealedAccount(
            organization_id=instance.organization_id,
            connection_id=instance.connection_id,
            provider=PROVIDER,
            base_url=instance.base_url,
            provider_account_id=instance.provider_instance_name,
            access_token_sealed=seal(
                self._vault, instance.organization_id, account_store.ACCESS_TOKEN_COLUMN, own_token
            ),
            version=version,
        )

    async def _look_now(self, tx: Tx, instance: Instance) -> None:
        now = self._clock.now()
        await self._queue.remove(tx, [instance.instance_id])
        place = Place(instance.instance_id, instance.organization_id, str(instance.instance_id), now)
        await self._queue.put(tx, [place], now)

    async def _find(self, tx: Tx, organization_id: UUID, instance_id: str, *, lock: bool = False) -> Instance:
        instance = await store.find(tx, organization_id, wire.to_uuid("instance_id", instance_id), lock=lock)
        if instance is None:
            raise _no_instance()
        return instance


def _read(report: pb.InstanceReport) -> Report:
    return Report(
        receive_time=wire.from_timestamp(report.receive_time),
        connection_state=report.connection_state,
        status_reason=report.status_reason,
        qr_code=report.qr_code,
        pairing_code=report.pairing_code,
        own_jid=report.own_jid,
        profile_name=report.profile_name,
    )


def _no_instance() -> ProsaError:
    return NotFound("INSTANCE_NOT_FOUND", "The organization has no such instance.")
