"""What a consumer reads and who handles it, registered by the event's class: service, type and decoding follow from it.

One handler belongs to a class. Events of several classes reach their handlers in the order of the stream: what follows
one another in a batch and is of one class is handed over together.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from google.protobuf.message import Message

from chassis.db import Tx
from chassis.outbox import subject
from chassis.streams import ALL_FACTS, StreamMessage

Event = TypeVar("Event", bound=Message)

_EVENT_FILE = re.compile(r"prosa/([a-z]+)/v[0-9]+/events\.proto")


class ConsumedEvent(NamedTuple, Generic[Event]):
    """An event as the handler of its class gets it."""

    message: Event
    event_id: UUID
    organization_id: UUID
    event_time: datetime
    correlation_id: str


Handler = Callable[[Tx, Sequence[ConsumedEvent[Event]]], Awaitable[None]]
"""Does what events of one class ask for, in the transaction given; they come in their order, each one once."""

AnyHandler = Callable[[Tx, Sequence[StreamMessage]], Awaitable[None]]
"""Takes events of every class as they stand in the stream, not decoded."""


class _Subscription(NamedTuple):
    event: type[Message]
    handler: Handler[Any]

    async def handle(self, tx: Tx, messages: Iterable[StreamMessage]) -> None:
        events = [
            ConsumedEvent(
                self.event.FromString(message.payload),
                message.event_id,
                message.organization_id,
                message.event_time,
                message.correlation_id,
            )
            for message in messages
        ]
        await self.handler(tx, events)


class Subscriptions:
    """The handlers of one consumer: one for each class of event, or one for all that some services announce."""

    def __init__(self) -> None:
        self._by_type: dict[str, _Subscription] = {}
        self._types: dict[str, list[str]] = {}
        self._all: AnyHandler | None = None

    def on(self, event: type[Event], handler: Handler[Event]) -> None:
        """Hands the events of a class to the handler. Raises ValueError for what is no event, or has a handler."""
        descriptor = event.DESCRIPTOR
        file = _EVENT_FILE.fullmatch(descriptor.file.name)
        if file is None or descriptor.containing_type is not None:
            raise ValueError(f"{descriptor.full_name} is not an event: those are in a service's events.proto.")
        if self._all is not None or descriptor.full_name in self._by_type:
            raise ValueError(f"{descriptor.full_name} has a handler already.")
        self._by_type[descriptor.full_name] = _Subscription(event, handler)
        self._types.setdefault(file.group(1), []).append(descriptor.full_name)

    def on_all(self, services: Iterable[str], handler: AnyHandler) -> None:
        """Hands everything that the services announce to the handler. Raises ValueError where there is one already."""
        if self._types:
            raise ValueError("This consumer has handlers already.")
        self._all = handler
        self._types = {service: [] for service in services}

    @property
    def subjects(self) -> Mapping[str, str]:
        """What is read of each service's stream. Who wants one class of it is sent no other; the server knows one
        pattern a reader."""
        return {service: subject(types[0]) if len(types) == 1 else ALL_FACTS for service, types in self._types.items()}

    def wanted(self, message: StreamMessage) -> bool:
        """Whether somebody handles it."""
        return self._all is not None or message.type in self._by_type

    async def handle(self, tx: Tx, messages: Sequence[StreamMessage]) -> None:
        """Hands wanted messages to their handlers. Raises DecodeError for what is not of its own class."""
        if self._all is not None:
            await self._all(tx, messages)
            return
        for name, following in groupby(messages, lambda message: message.type):
            await self._by_type[name].handle(tx, following)
