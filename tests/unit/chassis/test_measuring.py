"""What is counted of a call."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chassis.interceptors import ServerInterceptor, _Method
from chassis.telemetry import Metrics
from prosa.v1 import options_pb2

NAME = "/prosa.test.v1.Tests/Wait"


async def test_a_call_whose_client_goes_away_is_measured_as_cancelled() -> None:
    metrics, unused = Metrics(), cast("Any", None)
    verifier = cast("Any", SimpleNamespace(check_permission=lambda *_: None))
    entered = asyncio.Event()

    async def wait(*_: Any) -> None:
        entered.set()
        await asyncio.Event().wait()

    call_context = SimpleNamespace(invocation_metadata=lambda: (), time_remaining=lambda: None)
    interceptor = ServerInterceptor(verifier, unused, metrics)
    method = _Method(NAME, options_pb2.Permission(anonymous=True))
    task = asyncio.create_task(interceptor._unary(method, wait)(options_pb2.Permission(), call_context))
    async with asyncio.timeout(10):
        await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (family,) = metrics.rpc_seconds.collect()
    counts = {
        sample.labels["code"]: sample.value
        for sample in family.samples
        if sample.name.endswith("_count") and sample.labels["method"] == NAME
    }
    assert counts == {"CANCELLED": 1}
