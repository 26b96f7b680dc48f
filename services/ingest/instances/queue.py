"""Which numbers conversation has not been told of yet."""

from __future__ import annotations

from chassis.queues.queue import Queue

INSTANCES = Queue("instance_queue", "ingest")
"""One item for each number that is to be begun, whose id and key it has."""
