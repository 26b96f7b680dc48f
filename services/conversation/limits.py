"""Limits of sending, by name."""

from __future__ import annotations

from datetime import timedelta

TEXT_LENGTH_MAX = 4_096
CONVERSATION_QUEUE_MAX = 50
"""How many messages of one conversation may wait to be sent."""
DELIVERY_SLOTS = 16
"""How many channels one process sends through at once, one message each; of one organization half at most."""
WRITE_SLOTS = 4
"""How many conversations' labels one process writes at once."""
SEND_SECONDS = 15.0
"""Of one request to a provider, from resolving the name to the answer."""
ANSWER_BYTES_MAX = 4 * 1024 * 1024
"""Of a provider's answer: a page of messages may be long."""
LOOK_PAGES_MAX = 5
"""How many pages of a conversation's newest messages are looked through for one that may have left."""

PERSON_WAITS = timedelta(hours=24)
"""How long what a person wrote may wait to be sent."""
REPLY_WAITS = timedelta(minutes=15)
"""How long an automatic reply may wait."""
UNREACHABLE_WAITS = tuple(timedelta(seconds=seconds) for seconds in (5, 15, 60, 300))
"""How long a channel rests after each request that found nobody; the last one from then on."""
KILLED_WAIT = timedelta(seconds=2)
"""How often it is asked again while a kill switch is on, which says nothing of when it is lifted."""
AWAY_WAIT = timedelta(seconds=2)
"""How often it is asked again while outreach does not answer."""
WRITE_WAITS = tuple(timedelta(seconds=seconds) for seconds in (1, 5, 15, 60, 300))
"""How long a label waits after each failed attempt to write it; the last one from then on."""
LOOK_WAITS = (
    *(timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10)),
    *(timedelta(hours=1), timedelta(hours=6), timedelta(hours=17)),
)
"""When the provider is looked at for what may have left: about 24 hours in all, then it counts as failed."""
OPEN_RESERVATIONS_SECONDS = 60.0
"""How often reservations that nobody settled are looked for: after a crash, or where outreach did not answer."""

PERSONAS_MAX = 200
"""Of one organization."""

INSTANCE_SLOTS = 8
"""Numbers that are looked at at once: each look may wait for its provider."""

SCRIPTS_MAX = 100
"""Of one organization."""
PLAN_AHEAD = timedelta(hours=48)
"""How far ahead rounds are planned."""
PLAN_EVERY = timedelta(hours=12)
"""How often a script is planned further."""
NUMBER_BUSY_WAIT = timedelta(seconds=30)
"""How long a round waits where one of its numbers is talking in another."""
ROUND_LOOK_WAIT = timedelta(seconds=2)
"""How often it is looked whether a round's message has left."""
ROUND_UNCERTAIN_WAIT = timedelta(minutes=1)
"""The same while nobody knows whether it has: an echo may tell any moment, or nothing for a day."""
REPLIES_MAX = 20
REPLIES_PERIOD = timedelta(hours=1)
"""So many automatic replies to one conversation within the period: more is no talk with a person."""
HISTORY_MAX = 20
"""How many of a conversation's newest messages a model is told."""
TURN_SLOTS = 8
"""How many turns one process answers at once: a model takes its time."""
CANCEL_BATCH_MAX = 500
"""How many automatic deliveries are taken back in one transaction, so that its locks are short."""
