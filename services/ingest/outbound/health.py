"""How an endpoint fares: when it is left alone for a while, and when it is given up. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from services.ingest.outbound import rules
from services.ingest.outbound.rules import Seen
from services.ingest.outbound.store import Endpoint


def fares(endpoint: Endpoint, attempts: Sequence[Seen], now: datetime) -> Endpoint:
    """The endpoint after a run: how it fares, until when it is left alone, whether it stays enabled."""
    failed = [seen for seen in attempts if not seen.taken]
    if len(failed) < len(attempts):
        endpoint = replace(endpoint, failure_count=0, failing_since=None, last_success_time=now)
    elif failed:
        endpoint = replace(endpoint, failure_count=endpoint.failure_count + len(failed))
        endpoint = replace(endpoint, failing_since=endpoint.failing_since or now)
    if failed:
        endpoint = replace(endpoint, last_failure_time=now, last_failure_explanation=failed[-1].explanation)
    waits = [seen.retry_after for seen in failed if seen.retry_after is not None]
    if endpoint.failure_count >= rules.FAILURES_BEFORE_PROBE:
        waits.append(rules.PROBE_EVERY)
    endpoint = replace(endpoint, resume_time=now + max(waits) if waits else None)
    reason = ""
    if any(seen.status == 410 for seen in failed):
        reason = rules.GONE
    elif endpoint.failing_since is not None and now - endpoint.failing_since >= rules.FAILING_MAX:
        reason = rules.FAILING
    if reason:
        endpoint = replace(endpoint, enabled=False, disabled_reason=reason, version=endpoint.version + 1)
    return endpoint
