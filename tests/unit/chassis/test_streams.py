"""What is read off a stream."""

from __future__ import annotations

import pytest
from nats.aio.client import Client as Nats

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
