"""Every limit of the gateway, by name. Sizes are bytes, times seconds."""

from __future__ import annotations

# Bodies
API_BODY_BYTES_MAX = 1024 * 1024
API_BODY_TIMEOUT_SECONDS = 20.0
API_BYTES_IN_FLIGHT_MAX = 64 * 1024 * 1024
"""Of all bodies of callers of the API being read or waiting for their call."""
STRANGER_BYTES_IN_FLIGHT_MAX = 16 * 1024 * 1024
"""Of all bodies without credentials, which take nothing of the callers'."""
API_BYTES_PER_CALLER_MAX = 8 * 1024 * 1024
"""Of one organization's."""
STRANGER_BODY_BYTES_MAX = 8 * 1024
"""Of a caller without credentials: enough to sign in and to exchange a key."""
STRANGER_BODY_TIMEOUT_SECONDS = 2.0
IMPORT_PART_BYTES = 4 * 1024 * 1024
"""Of a file that is handed on while it is uploaded: as much as is held of it."""
CHATWOOT_BODY_BYTES_MAX = 8 * 1024 * 1024
EVOLUTION_BODY_BYTES_MAX = 32 * 1024 * 1024
WEBHOOK_BYTES_IN_FLIGHT_MAX = 256 * 1024 * 1024
"""Of all webhook bodies being read or waiting: what comes beyond is refused before it is read."""

# Requests
REQUEST_LINE_BYTES_MAX = 16 * 1024
HEADER_BYTES_MAX = 16 * 1024
HEADERS_MAX = 100
KEEPALIVE_SECONDS = 75.0
LINGERING_SECONDS = 1.0
"""How long the rest of a body that nobody reads is taken, so that the sender gets to see the answer."""
SHUTDOWN_SECONDS = 10.0
IDEMPOTENCY_KEY_LENGTH_MAX = 1024
QUERY_FIELDS_MAX = 100

# Connections
CONNECTIONS_MAX = 8_192
CONNECTIONS_PER_NETWORK_MAX = 1_024
"""Of one network of strangers; this machine and trusted proxies stand for many and have no such bound."""
FILES_RESERVED = 256
"""Of the files that this process may open: for what are no connections from outside."""
ACCEPTS_A_TURN = 128
ACCEPT_PAUSE_SECONDS = 0.2
"""Where the system gives no more connections: how long until it is asked again."""
HEAD_BYTES_MAX = 48 * 1024
"""Of one request's line and headers until they are whole."""
HEADS_BYTES_MAX = 16 * 1024 * 1024
"""Of all requests whose headers are not whole yet."""
HEAD_SECONDS = 5.0
"""From the connection, or the first byte of its next request, to whole headers; the TLS handshake included."""
REQUEST_SECONDS = 60.0
"""From whole headers until the answer has been read, live updates apart. What a request may wait for is less."""
BUSY_GIVES_WAY_SECONDS = 15.0
"""A request that is older may be ended where there is no other space: calls take at most 10, and who waits for
news comes again."""
SWEEP_SECONDS = 0.5

# Calls
API_CALL_TIMEOUT_SECONDS = 10.0
API_WAIT_SECONDS_MAX = 20.0
"""How long a caller may ask to be kept waiting for news, on top of the call."""
EXCHANGE_TIMEOUT_SECONDS = 5.0
RETRY_AFTER_SECONDS = 1

# Webhooks: the provider waits 5 s and may not come back, so an answer is out within 4.
WEBHOOK_DEADLINE_SECONDS = 3.0
"""From the first byte handled to the answer: reading the body, waiting in the queue and the call. A second is left for
what happens before and after on a machine that has more to do than it can."""
ACCEPT_CALL_TIMEOUT_SECONDS = 2.5
ACCEPT_FLUSHERS = 2
ACCEPT_ITEMS_WORTH = 32
"""How many must wait before the second flusher begins: a call costs as much as some twenty webhooks do."""
ACCEPT_BATCH_ITEMS_MAX = 100
ACCEPT_BATCH_BYTES_MAX = 8 * 1024 * 1024
ACCEPT_QUEUE_ITEMS_MAX = 2_000
ACCEPT_QUEUE_BYTES_MAX = 128 * 1024 * 1024
LARGE_BODY_BYTES = 256 * 1024
"""Larger webhooks travel in calls of their own: what they cost does not keep the many small ones waiting."""
LARGE_BATCH_ITEMS_MAX = 4
WEBHOOK_HEADER_LENGTH_MAX = 4096
CONNECTION_KEY_LENGTH_MAX = 128
WEBHOOK_SEGMENT_LENGTH_MAX = 1024
"""Of one part of a webhook's address as it was pasted: the key with the address once more behind it, quoted twice."""
CONNECTION_BURST_BYTES = 64 * 1024 * 1024
"""So much one connection may send at once; a thousand usual webhooks have some four megabytes."""
CONNECTION_BYTES_PER_SECOND = 16 * 1024 * 1024
CONNECTION_BUDGETS_MAX = 10_000
UNPROVEN_BURST_BYTES = 16 * 1024 * 1024
"""Of what one network sends to the legacy path until it proves whose it is. Beyond it only small bodies are read."""
UNPROVEN_BYTES_PER_SECOND = 1024 * 1024
UNPROVEN_BURST_BYTES_OF_ALL = 64 * 1024 * 1024
"""Of all networks together."""
UNPROVEN_BYTES_PER_SECOND_OF_ALL = 4 * 1024 * 1024
UNPROVEN_NETWORKS_MAX = 10_000
UNPROVEN_SMALL_BYTES = 16 * 1024
"""What is always read there: a webhook of usual size has some ten kilobytes."""
UNPROVEN_BATCH_ITEMS_MAX = 16
"""Of larger ones. Webhooks that name no connection travel in calls of their own and keep none that names one waiting,
nor do the larger of them the smaller."""
UNPROVEN_BATCH_BYTES_MAX = 1024 * 1024
UNPROVEN_QUEUE_ITEMS_MAX = 500
UNPROVEN_QUEUE_BYTES_MAX = 32 * 1024 * 1024
KEYS_KNOWN_MAX = 10_000
KEYS_UNKNOWN_MAX = 10_000
UNKNOWN_KEY_SECONDS = 5.0
KEY_LOOKUP_BATCH_MAX = 100
KEY_LOOKUPS_WAITING_MAX = 2_000
"""Beyond it who guesses, and who was never heard of, is told to come again."""
KEY_LOOKUP_TIMEOUT_SECONDS = 2.0
NOT_STORED_CONNECTIONS_MAX = 1_000
"""Connections of which it is counted apart how many webhooks could not be stored."""

# Pages
DOCS_ORIGINS_MAX = 16
"""The page about the API is kept for so many of the addresses under which the gateway is reached."""
DASHBOARD_FILES_MAX = 500
DASHBOARD_FILE_BYTES_MAX = 4 * 1024 * 1024
"""The dashboard's files are kept in memory; a build has about a megabyte."""

# Credentials
TOKEN_CACHE_ENTRIES_MAX = 10_000
TOKEN_RENEWAL_MARGIN_SECONDS = 60.0
REFUSED_KEY_SECONDS = 5.0
API_KEY_LENGTH_MAX = 256
TOKEN_FORM_FIELDS_MAX = 20
SESSION_SECRET_LENGTH_MAX = 128
SESSION_COOKIE_SECONDS = 30 * 86_400
"""A browser keeps the cookie for as long as a session may last; identity ends it before."""

# Live updates
STREAM_HEARTBEAT_SECONDS = 15.0
STREAM_QUEUE_EVENTS_MAX = 1_000
STREAM_CALL_TIMEOUT_SECONDS = 3600.0
"""Of one Subscribe call; the next one goes on where it ended."""
STREAM_WRITE_TIMEOUT_SECONDS = 10.0
STREAM_TYPES_MAX = 50
STREAM_CLIENTS_MAX = 2_000
STREAM_CLIENTS_PER_ORGANIZATION_MAX = 200
STREAM_START_TIMEOUT_SECONDS = 20.0
"""How long a resuming client waits for its organization's stream to say how far it is."""
STREAM_RETRY_MS = 2_000
STREAM_RECONNECT_SECONDS_MIN = 0.2
STREAM_RECONNECT_SECONDS_MAX = 5.0

# Readiness
NOT_STORED_CALLS = 3
"""So many calls in a row must have failed before the next one is expected to: one may fail by what it brought."""
NOT_STORED_SECONDS = 15.0
"""How long a webhook that could not be stored says that the next one cannot be either."""
SERVICE_CHECK_TIMEOUT_SECONDS = 1.5
