"""What Prosa itself alerts on, for each organization.

Made by `make generate` from deploy/slo.yaml; do not edit.
"""

from __future__ import annotations

from datetime import timedelta

WEBHOOK_FAILURES_SHARE = 0.02
"""Webhooks that failed, of all that came in the window; more than this share opens an alert."""
WEBHOOK_FAILURES_WINDOW = timedelta(seconds=900)
WEBHOOK_FAILURES_EVENTS_MIN = 5
WEBHOOK_FAILURES_FAILURES_MIN = 3
"""With fewer events, or fewer failures, none opens."""
