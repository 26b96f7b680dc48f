"""Adds to the table of figures, in the very statement that inserts messages."""

from __future__ import annotations

from collections.abc import Sequence

from services.conversation.messages.domain.message import Message

COUNT_INSERTED = """
insert into conversation.message_rollups as kept
  (organization_id, quarter, channel_id, direction, count, failed_count)
select organization_id, date_bin('15 minutes', create_time, timestamptz '2000-01-01T00:00:00Z') as quarter,
  channel_id, direction, sum(count), sum(failed)
from (
  select organization_id, create_time, channel_id, direction, 1 as count, (state = 'FAILED')::int as failed
  from inserted
  union all
  select organization_id, create_time, channel_id, direction, 0, failed
  from json_to_recordset(%(failures)s::json) as given (
    organization_id uuid, create_time timestamptz, channel_id uuid, direction text, failed int)
) changed
group by organization_id, quarter, channel_id, direction
order by organization_id, quarter, channel_id, direction
on conflict (organization_id, quarter, channel_id, direction) do update
  set count = kept.count + excluded.count, failed_count = kept.failed_count + excluded.failed_count
"""
"""The end of the statement that inserts messages: it counts what that one ``inserted``.

What became a failed message, or ceased to be one, comes along as ``failures``: all figures of a transaction change in
one statement and in one order, so that two transactions never wait for each other.
"""


def failure_rows(failures: Sequence[tuple[Message, int]]) -> list[dict[str, object]]:
    """What ``COUNT_INSERTED`` is told of messages that became failed ones (1) or ceased to be (-1)."""
    return [
        {
            "organization_id": message.organization_id,
            "create_time": message.create_time,
            "channel_id": message.channel_id,
            "direction": message.direction,
            "failed": change,
        }
        for message, change in failures
    ]
