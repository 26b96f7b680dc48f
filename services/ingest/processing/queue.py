"""Where webhook events wait to be processed, in order within each conversation."""

from __future__ import annotations

from chassis.queues.queue import Queue

WEBHOOKS = Queue(
    "webhook_queue",
    "ingest",
    item_column="webhook_event_id",
    time_column="receive_time",
    # They are events too, which are listed and replayed as such.
    own_dead_letters=True,
    bare_leases=True,
)
"""Older than the chassis' queues: hence the names of its own."""
