"""When each instance is looked at next."""

from __future__ import annotations

from chassis.queues.queue import Queue

INSTANCES = Queue("instance_queue", "conversation", timed=True, shared=True)
"""One item for each instance, whose id and key it has."""
