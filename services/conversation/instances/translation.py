"""Instances as the contract's messages, the fact about them, and what of them is sealed."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson

from chassis import wire
from chassis.crypto import Vault
from chassis.enums import enum_number
from chassis.outbox import Fact
from prosa.conversation.v1 import events_pb2
from prosa.conversation.v1 import instance_service_pb2 as pb
from services.conversation.instances.domain import Instance, Qr, State

ACCESS_TOKEN_COLUMN = "instances.access_token"  # noqa: S105 - the name of a column
WEBHOOK_SECRET_COLUMN = "instances.webhook_secret"  # noqa: S105 - the name of a column
OWN_TOKEN_COLUMN = "instances.own_token"  # noqa: S105 - the name of a column
QR_COLUMN = "instances.qr"


def instance_message(instance: Instance) -> pb.Instance:
    """An instance, without its secrets and its code."""
    return pb.Instance(
        instance_id=str(instance.instance_id),
        organization_id=str(instance.organization_id),
        connection_id=str(instance.connection_id),
        channel_id=str(instance.channel_id),
        name=instance.name,
        provider_instance_name=instance.provider_instance_name,
        state=enum_number(pb.InstanceState, instance.state),
        state_time=wire.to_timestamp(instance.state_time),
        cause=instance.cause,
        advice=instance.advice,
        phone=instance.phone,
        profile_name=instance.profile_name,
        last_event_time=wire.to_timestamp(instance.last_event_time),
        last_probe_time=wire.to_timestamp(instance.last_probe_time),
        create_time=wire.to_timestamp(instance.create_time),
        etag=str(instance.version),
        qr_count=instance.qr_count,
    )


def instance_changed(instance: Instance, previous: State | None) -> Fact:
    """The fact that an instance came to be or is another now."""
    number = pb.INSTANCE_STATE_UNSPECIFIED
    if previous is not None:
        number = enum_number(pb.InstanceState, previous)
    return Fact(
        instance.organization_id,
        events_pb2.InstanceChanged(
            organization_id=str(instance.organization_id),
            instance=instance_message(instance),
            previous_state=number,
            version=instance.version,
        ),
    )


def seal(vault: Vault, organization_id: UUID, column: str, value: str) -> bytes:
    """A text, sealed for one column of one organization."""
    return vault.seal(value.encode(), organization_id=organization_id, column=column)


def unseal(vault: Vault, organization_id: UUID, column: str, sealed: bytes) -> str:
    """What was sealed. Raises SealBroken."""
    return vault.open(sealed, organization_id=organization_id, column=column).decode()


def seal_qr(vault: Vault, organization_id: UUID, code: Qr) -> bytes:
    """A code as it is kept: whoever scans it in time reads all that the number gets."""
    return seal(vault, organization_id, QR_COLUMN, orjson.dumps([code.code, code.pairing_code]).decode())


def open_qr(vault: Vault, instance: Instance) -> Qr | None:
    """The code that is kept of an instance, None where it has none."""
    if instance.qr_sealed is None:
        return None
    kept: list[Any] = orjson.loads(unseal(vault, instance.organization_id, QR_COLUMN, instance.qr_sealed))
    return Qr(*kept)
