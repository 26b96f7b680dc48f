"""Which endpoints have something to be posted, or to be tried again."""

from __future__ import annotations

from chassis.queues.queue import Queue

OUTBOUND = Queue("outbound_queue", "ingest", timed=True, shared=True)
"""One item for each endpoint, whose id it has. What is to be posted lies in the feed, so that an endpoint that is away
for days holds back nothing but itself."""
