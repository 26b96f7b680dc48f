"""Ingest's limits, by name."""

from __future__ import annotations

CHANNELS_PER_CONNECTION_MAX = 200
"""A Chatwoot account with more inboxes than this is split over several connections."""
INSTANCES_MAX = 100
"""Of numbers that an organization connects through Evolution."""
LIVE_SECRETS_MAX = 2
"""The newest webhook secret and the one before it, so that a secret can be changed without a gap."""
SECRET_LENGTH_MIN = 8
UNSIGNED_DAYS = 30
"""For so long a connection without a secret takes unsigned webhooks on its own address, unless it names another end."""
UNSIGNED_DAYS_MAX = 366
"""A named end is no further ahead: who still needs it in a year says so again."""
UNSIGNED_NOTE_SECONDS = 60.0
"""How old the kept time of a connection's last unsigned webhook may be."""

LEGACY_CANDIDATES_PER_ORGANIZATION_MAX = 16
"""With the secrets of so many of an organization's connections to one account, the oldest, a webhook of the legacy path
is tried: nobody makes the webhooks of others slower by claiming their account very often."""
LEGACY_CANDIDATES_PER_ACCOUNT_MAX = 1_000
"""Of all organizations together; beyond it the newest need their own addresses."""

LEGACY_HASHED_BYTES_MAX = 32 * 1024 * 1024
"""A legacy webhook is checked against as many secrets as this is times its own size: some milliseconds of a core. Those
of connections that have the inbox it names come first."""
LEGACY_SECRETS_TRIED_MIN = 32
"""So many are tried however large it is: all those of one organization's candidates."""

LARGE_BODY_BYTES = 256 * 1024
"""Larger webhooks are checked, read and blanked off the event loop."""
JSON_CONTAINERS_MAX = 100_000
"""Of objects and lists in one webhook; a genuine one has some hundred. More would take seconds to read, in which
nothing else runs: such a webhook is stored, and becomes a dead letter."""

CHATWOOT_TIMEOUT_SECONDS = 4.0
"""Of one REST call to Chatwoot, from resolving its name to the last byte. Calls of one check run side by side."""
CHATWOOT_ANSWER_BYTES_MAX = 4 * 1024 * 1024
"""The inboxes of a large account are some hundred kilobytes."""

LAST_EVENT_SCAN_MAX = 10_000
"""How many of an organization's newest webhook events are looked through for one of a given connection."""
COMPLETE_SCAN_MAX = 1_000
"""How many of a connection's newest webhook events are looked through for one that led to all that it should."""
TAKEN_IN_SCAN_MAX = 10_000
"""How many of a connection's kept webhook events are looked through for a message of its account."""

UNPROVEN_READ_BYTES_MAX = 16 * 1024
"""The largest body that is read on the event loop before its signature is checked, and only where it is whole JSON:
at most some half a millisecond. What is larger or damaged is read by one thread that does nothing else."""
UNPROVEN_CONTAINERS_MAX = 10_000
"""Of objects and lists in a body that is read before its signature is checked: making very many keeps the whole process
busy, whichever thread does it."""
UNPROVEN_MENDED_BYTES_MAX = 32 * 1024
"""The largest damaged body that is mended before its signature is checked, which takes some milliseconds of that
thread; genuine ones have some ten kilobytes."""

BODY_TEXT_BYTES_MAX = 16 * 1024 * 1024
"""Larger bodies are answered as bytes alone: twice the largest body would not fit into one gRPC message."""

REPLAY_EVENTS_MAX = 50_000
"""Of one call: about six seconds on a busy machine with two cores, within the ten that a call over HTTP may take."""
REPLAY_CHUNK_EVENTS = 1_000
"""Put back in one transaction, so that its locks are short."""

OUTBOUND_ENDPOINTS_MAX = 20
"""Of one organization: each may keep a worker's slot for `OUTBOUND_SECONDS` at a time."""
OUTBOUND_RUN_MAX = 16
"""How many facts one run of an endpoint posts; what a crash lets be posted again."""
OUTBOUND_AT_ONCE = 4
"""How many posts are under way to one endpoint: n8n answers some ten a second."""
OUTBOUND_SLOTS = 32
"""How many endpoints of all organizations one process posts to at once."""
OUTBOUND_SECONDS = 15.0
"""Of one post, from resolving the name to the answer."""
OUTBOUND_ANSWER_BYTES_MAX = 1_024
"""What is read of an answer, whose status alone counts."""
