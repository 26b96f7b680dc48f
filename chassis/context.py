"""What travels with a call: who asks, under which correlation id and trace, and until when.

Held in context variables, so that a log line, an outbox row or a call to another service made anywhere below a
handler carries them without being told.
"""

from __future__ import annotations

import re
import time
from contextvars import ContextVar
from random import getrandbits  # these ids are no secrets

correlation_id: ContextVar[str] = ContextVar("correlation_id", default="")
"""One id for everything that one request or event causes; empty outside of both."""

trace_parent: ContextVar[str] = ContextVar("trace_parent", default="")
"""The W3C traceparent of the work at hand; empty when there is none."""

deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
"""The moment on the monotonic clock after which nobody waits for the answer any more."""

WORK_SECONDS_MIN = 0.1
"""With less left a call is not begun: it would take its share of a loaded system, and end too late for its caller."""

client_network: ContextVar[str] = ContextVar("client_network", default="")
"""The network of who called over HTTP, such as "192.0.2.0/24", as the gateway saw it; empty where nobody did.

Only bounds guessing: the listener of gRPC is reached by our own processes alone, which say it of their callers.
"""

CORRELATION_ID_LENGTH_MAX = 128
_CORRELATION_ID = re.compile(r"[A-Za-z0-9._:/@+=-]{1,128}")
_TRACE_PARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def accepted_correlation_id(value: str | None) -> str:
    """A caller's correlation id if it is of a harmless form, else a new one."""
    if value and _CORRELATION_ID.fullmatch(value):
        return value
    return f"{getrandbits(128):032x}"


def accepted_trace_parent(value: str | None) -> str:
    """A caller's traceparent if it is well formed (W3C Trace Context, section 3.2), else a new one."""
    if value and _TRACE_PARENT.fullmatch(value):
        return value
    # Zero is no trace's id.
    return f"00-{getrandbits(128) or 1:032x}-{getrandbits(64) or 1:016x}-01"


class scoped:  # noqa: N801 used as the function it stands for; a generator would cost every request its making
    """Runs the block under a correlation id and a trace."""

    __slots__ = ("_correlation", "_tokens", "_trace")

    def __init__(self, correlation: str, trace: str) -> None:
        self._correlation, self._trace = correlation, trace

    def __enter__(self) -> None:
        self._tokens = correlation_id.set(self._correlation), trace_parent.set(self._trace)

    def __exit__(self, *_: object) -> None:
        correlation_id.reset(self._tokens[0])
        trace_parent.reset(self._tokens[1])


_CLIENT_NETWORK = re.compile(r"[0-9a-f.:/]{1,64}")


def accepted_client_network(value: str | None) -> str:
    """A network as the gateway writes it, else empty."""
    return value if value and _CLIENT_NETWORK.fullmatch(value) else ""


def seconds_left(default: float) -> float:
    """How long the caller still waits, at most the default, never less than zero."""
    until = deadline.get()
    return default if until is None else max(0.0, min(default, until - time.monotonic()))
