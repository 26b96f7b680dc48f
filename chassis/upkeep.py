"""Upkeep of a service's tables: partitions are ready before their time comes, and what has expired goes.

It is told the time, and a clock may be wrong. So it drops nothing where the time it is told is far from that of the
database's server or from the newest row, nothing that still waits, never the current partition, and at most one
partition of a table in a run: whoever sets a clock right within hours has lost nothing.
"""

from __future__ import annotations

from chassis.upkeep_functions import CLOCK_APART_SECONDS_MAX, CLOCK_DIFFERS, NEWEST_ROW_FAR, SILENCE_DAYS_MAX

EXPLANATIONS = {
    CLOCK_DIFFERS: (
        f"This process's clock and that of the database's server are more than {CLOCK_APART_SECONDS_MAX // 60} minutes "
        "apart. Nothing that has expired is dropped until the clocks are set right."
    ),
    NEWEST_ROW_FAR: (
        f"The newest row is more than {SILENCE_DAYS_MAX} days old. Nothing that has expired is dropped until something "
        "new is written."
    ),
}
"""What each refusal means, and what ends it."""
