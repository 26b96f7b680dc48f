"""Reading a stream by position: stateless batches, so that a restart of NATS leaves nothing to repair.

Uses JetStream's batched direct get (NATS 2.11 or later, ADR-31): the reader says where to begin and keeps its
own place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import structlog
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.protocol import command

from chassis.errors import Unavailable
from chassis.outbox import SUBJECT_PREFIX

EPOCH_HEADER = "Prosa-Epoch"
INSTALLATION_HEADER = "Prosa-Installation"
POSITION_HEADER = "Prosa-Position"
TYPE_HEADER = "Prosa-Type"
ORGANIZATION_HEADER = "Prosa-Organization"
TIME_HEADER = "Prosa-Time"
CORRELATION_HEADER = "Prosa-Correlation"
TRACE_HEADER = "traceparent"
MESSAGE_ID_HEADER = "Nats-Msg-Id"
EXPECTED_SEQUENCE_HEADER = "Nats-Expected-Last-Sequence"
ALL_FACTS = f"{SUBJECT_PREFIX}.>"
READ_SECONDS = 5.0
CONNECTED_POLL_SECONDS = 0.2
READ_BYTES_MAX = 8 * 1024 * 1024
ORGANIZATIONS_CACHED_MAX = 10_000

_SEQUENCE_HEADER = "Nats-Sequence"
_STATUS_HEADER = "Status"


Callback = Callable[[Msg], Awaitable[None]]

logger = structlog.get_logger(__name__)


class Client(Nats):
    """nats-py's, but for how it reads and writes headers, and for subscriptions before the first connection.

    It looks at every letter of every name; that took a third of all that reading or publishing a fact takes. And it
    forgets at each attempt to connect what was subscribed to before.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ever_connected = False
        self._awaited: list[tuple[str, Callback]] = []

    @property
    def has_jetstream(self) -> bool:
        """Whether the server that is connected keeps streams, by its own word."""
        return bool(self._server_info.get("jetstream"))

    async def connect(self, *arguments: Any, **options: Any) -> None:
        """Connects, however long that takes, and then subscribes to what was asked for meanwhile."""
        await super().connect(*arguments, **options)
        self._ever_connected = True
        while self._awaited:
            subject, callback = self._awaited.pop(0)
            await self.subscribe(subject, cb=callback)

    async def listen(self, subject: str, callback: Callback) -> None:
        """Calls back for every message of a subject, from now on or from the first connection on."""
        if self._ever_connected:
            await self.subscribe(subject, cb=callback)
        else:
            self._awaited.append((subject, callback))

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        headers = {}
        for line in raw.split(b"\r\n"):
            name, colon, value = line.partition(b":")
            if colon:
                headers[name.decode("ascii", "replace")] = value.strip().decode("utf-8", "replace")
        return headers

    async def _send_publish(
        self, subject: str, reply: str, payload: bytes, payload_size: int, headers: Mapping[str, Any] | None
    ) -> None:
        written = "".join([f"{name}: {value}\r\n" for name, value in headers.items()]) if headers else ""
        # Where a name or a value breaks the line, nats-py knows what to do.
        if not headers or written.count("\n") + written.count("\r") != 2 * len(headers):
            await super()._send_publish(subject, reply, payload, payload_size, headers)  # type: ignore[arg-type]
            return
        block = f"NATS/1.0\r\n{written}\r\n".encode()
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += payload_size
        await self._send_command(command.hpub_cmd(subject, reply, block, payload))
        if self._flush_queue is not None and self._flush_queue.empty():
            await self._flush_pending()


class Waker:
    """Tells whoever listens to a subject, in whatever process, that there is something for them in a table.

    Best effort: they look by themselves too, now and then.
    """

    def __init__(self, nats: Nats, subject: str, payload: Callable[[], bytes] = bytes) -> None:
        """``payload`` answers what there is to say besides, at the moment when it is told."""
        self._nats = nats
        self._subject = subject
        self._payload = payload
        self._telling: asyncio.Task[None] | None = None
        self._owed = False

    def wake(self) -> None:
        """Tells them soon. What is committed before it is told is told along with it."""
        self._owed = True
        if self._telling is None and self._nats.is_connected:
            self._telling = asyncio.ensure_future(self._tell())

    async def _tell(self) -> None:
        try:
            while self._owed:
                self._owed = False
                await self._nats.publish(self._subject, self._payload())
        except (NatsError, OSError) as error:
            logger.info("nobody_woken", subject=self._subject, error=repr(error))
        finally:
            self._telling = None


class StreamMessage(NamedTuple):
    """One fact as it stands in a stream."""

    sequence: int
    epoch: int
    position: int
    """Its place in the outbox it came from."""
    event_id: UUID
    organization_id: UUID
    type: str
    payload: bytes
    event_time: datetime
    correlation_id: str
    trace_parent: str
    installation_id: str | None
    """Whose fact it is; None where the version before published it."""


async def until_connected(nats: Nats) -> None:
    """Returns once NATS has been reached for the first time; who cannot do anything before waits here."""
    while not nats.is_connected:  # noqa: ASYNC110 nats-py has no event for it
        await asyncio.sleep(CONNECTED_POLL_SECONDS)


async def read_batch(
    nats: Nats, stream: str, first_sequence: int, limit: int, *, subjects: str = ALL_FACTS
) -> list[StreamMessage]:
    """The facts of some subjects from a sequence on, oldest first, at most ``limit``.

    Empty at the end and where there is no stream. The server passes over what is of other subjects.

    Raises Unavailable when NATS does not answer in time.
    """
    messages: list[StreamMessage] = []
    ended = asyncio.get_running_loop().create_future()

    async def take(message: Msg) -> None:
        headers = message.headers or {}
        if ended.done():
            return
        if _STATUS_HEADER in headers:
            ended.set_result(None)
            return
        try:
            messages.append(_read(message.data, headers))
        except (KeyError, ValueError) as error:
            ended.set_exception(error)

    inbox = nats.new_inbox()
    subscription = await nats.subscribe(inbox, cb=take)
    request = {
        "seq": first_sequence,
        "batch": limit,
        "max_bytes": READ_BYTES_MAX,
        "next_by_subj": subjects,
    }
    try:
        await nats.publish(f"$JS.API.DIRECT.GET.{stream}", orjson.dumps(request), reply=inbox)
        async with asyncio.timeout(READ_SECONDS):
            await ended
        return messages
    except TimeoutError as error:
        raise Unavailable("EVENTS_UNAVAILABLE", "NATS does not answer. Try again soon.") from error
    finally:
        if nats.is_connected:
            await subscription.unsubscribe()


def _read(payload: bytes, headers: Mapping[str, str]) -> StreamMessage:
    return StreamMessage(
        sequence=int(headers[_SEQUENCE_HEADER]),
        epoch=int(headers[EPOCH_HEADER]),
        position=int(headers[POSITION_HEADER]),
        event_id=UUID(headers[MESSAGE_ID_HEADER].rpartition(".")[2]),
        organization_id=_organization_id(headers[ORGANIZATION_HEADER]),
        type=headers[TYPE_HEADER],
        payload=payload,
        event_time=datetime.fromisoformat(headers[TIME_HEADER]),
        correlation_id=headers.get(CORRELATION_HEADER, ""),
        trace_parent=headers.get(TRACE_HEADER, ""),
        installation_id=headers.get(INSTALLATION_HEADER),
    )


@lru_cache(maxsize=ORGANIZATIONS_CACHED_MAX)
def _organization_id(text: str) -> UUID:
    return UUID(text)
