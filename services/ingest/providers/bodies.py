"""Reading the body of a webhook that nobody has judged yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from chassis.json_reading import JsonMalformed, read_json
from services.ingest.limits import JSON_CONTAINERS_MAX, LARGE_BODY_BYTES
from services.ingest.providers.fields import crowded

P = ParamSpec("P")
T = TypeVar("T")


async def aside(byte_count: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Does work that goes over so many bytes: off the event loop where they are many."""
    if byte_count > LARGE_BODY_BYTES:
        return await asyncio.to_thread(work, *args, **kwargs)
    return work(*args, **kwargs)


def parsed(body: bytes, mended_bytes_max: int | None = None, containers_max: int = JSON_CONTAINERS_MAX) -> Any:
    """The body's JSON, or None where it is none: who is authentic may send what nobody can read."""
    if crowded(body, containers_max):
        return None
    try:
        return read_json(body, mended_bytes_max)
    except JsonMalformed:
        return None
