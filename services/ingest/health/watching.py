"""Looks at organizations of which something failed lately, until all is well: alerts open once, and are resolved."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import structlog

from chassis.clock import Clock
from chassis.db import Tx
from chassis.ids import Ids
from chassis.outbox import Outbox
from chassis.queues.items import Done, Item, Outcome, Retry
from chassis.queues.worker import Fence, Handler
from services.ingest.health import messages, rules, store
from services.ingest.health.rules import AlertKind, Counts
from services.ingest.health.thresholds import WEBHOOK_FAILURES_WINDOW

LOOK_EVERY = timedelta(minutes=1)
"""How often an organization is looked at while its window holds a failure."""

logger = structlog.get_logger(__name__)


class HealthHandler(Handler[Item]):
    """All is decided and written in the transaction that takes the items out, from what is committed then."""

    def __init__(self, outbox: Outbox, clock: Clock, ids: Ids) -> None:
        self._outbox, self._clock, self._ids = outbox, clock, ids

    async def work(self, items: Sequence[Item], fence: Fence) -> Sequence[Outcome[Item]]:
        """Nothing outside of the transaction."""
        return [Done(item) for item in items]

    async def record(self, tx: Tx, outcomes: Sequence[Outcome[Item]]) -> Sequence[Outcome[Item]]:
        """Opens and resolves alerts; an organization is looked at again while its window holds a failure."""
        now = self._clock.now()
        organization_ids = [outcome.item.organization_id for outcome in outcomes]
        counted = await store.sums(tx, organization_ids, now - WEBHOOK_FAILURES_WINDOW)
        alerts = await store.open_alerts(tx, organization_ids, AlertKind.WEBHOOK_FAILURES)
        changed, again = [], []
        for outcome in outcomes:
            organization_id = outcome.item.organization_id
            counts, alert = counted.get(organization_id, Counts()), alerts.get(organization_id)
            if alert is None and counts.opens:
                changed.append(rules.opened(organization_id, self._ids.new(), counts, now))
            elif alert is not None and not counts.above:
                rules.resolve(alert, now)
                changed.append(alert)
            look = counts.failure_count > 0
            again.append(Retry(outcome.item, now + LOOK_EVERY, counted=False) if look else Done(outcome.item))
        await store.write(tx, changed)
        await self._outbox.add(tx, [messages.alert_fact(alert) for alert in changed], now)
        for alert in changed:
            logger.warning(
                "alert_opened" if alert.resolve_time is None else "alert_resolved",
                organization_id=str(alert.organization_id),
                kind=alert.kind.value,
                event_count=alert.event_count,
                failure_count=alert.failure_count,
            )
        return again
