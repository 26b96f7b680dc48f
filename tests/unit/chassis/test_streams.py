"""What is read off a stream."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from nats.aio.client import Client as Nats
from nats.errors import BadHeaderError, ConnectionClosedError

from chassis import streams


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n",
        b"Nats-Stream: PROSA_CRM\r\nNats-Sequence: 7\r\n\r\n",
        b"Prosa-Type:prosa.crm.v1.DealCreated\r\nProsa-Time:\t2026-11-22T08:00:00+00:00  \r\n",
        b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nEmpty:\r\n",
        "Prosa-Correlation: ação: 1\r\n".encode(),
        b"Prosa-Correlation: \xff\r\nno colon\r\n",
    ],
)
def test_headers_are_read_as_nats_py_reads_them(raw: bytes) -> None:
    assert streams.Client._parse_header_lines(raw) == Nats._parse_header_lines(raw)


async def sent(client: Nats, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]) -> bytes:
    """What a client writes to publish a message with headers."""
    commands: list[bytes] = []

    async def keep(command: bytes) -> None:
        commands.append(bytes(command))

    monkeypatch.setattr(client, "_send_command", keep)
    await client._send_publish("prosa.events.crm.v1.DealCreated", "reply", b"payload", 7, headers)
    assert (client.stats["out_msgs"], client.stats["out_bytes"]) == (1, 7)
    (command,) = commands
    return command


@pytest.mark.parametrize(
    "headers",
    [
        {"Nats-Msg-Id": "1.01890a5d-ac96-774b-bcce-b302099a8057", "Prosa-Time": "2026-11-22T08:00:00+00:00"},
        {"Prosa-Correlation": "ação: 1"},
        {"Prosa-Correlation": "one\r\nProsa-Organization: another"},
        {"Prosa-Correlation": "one\n"},
        {"Prosa-Correlation\r\nProsa-Organization": "another"},
        {},
    ],
)
async def test_headers_are_written_as_nats_py_writes_them(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    try:
        expected = await sent(Nats(), monkeypatch, headers)
    except BadHeaderError:
        with pytest.raises(BadHeaderError):
            await sent(streams.Client(), monkeypatch, headers)
        return
    assert await sent(streams.Client(), monkeypatch, headers) == expected


class Wire:
    """A connection on which each message waits until it is let go."""

    def __init__(self) -> None:
        self.is_connected = True
        self.subjects: list[str] = []
        self.fails = False
        self.free = asyncio.Event()

    async def publish(self, subject: str, _payload: bytes) -> None:
        """Sends it, if the wire holds."""
        self.subjects.append(subject)
        await self.free.wait()
        if self.fails:
            raise ConnectionClosedError


async def settled() -> None:
    """Returns once every task has gone as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_many_commits_at_once_wake_once_and_what_comes_while_that_is_told_wakes_once_more() -> None:
    wire = Wire()
    waker = streams.Waker(cast("Nats", wire), "prosa.wake.test")
    for _ in range(100):
        waker.wake()
    await settled()
    assert wire.subjects == ["prosa.wake.test"]
    for _ in range(100):
        waker.wake()
    wire.free.set()
    await settled()
    assert wire.subjects == ["prosa.wake.test"] * 2


async def test_who_cannot_be_woken_is_woken_by_the_next_commit() -> None:
    wire = Wire()
    waker = streams.Waker(cast("Nats", wire), "prosa.wake.test")
    wire.is_connected = False
    waker.wake()
    await settled()
    assert wire.subjects == []
    wire.is_connected, wire.fails = True, True
    wire.free.set()
    waker.wake()
    await settled()
    wire.fails = False
    waker.wake()
    await settled()
    assert wire.subjects == ["prosa.wake.test"] * 2
