"""The registry: every provider that messages are sent through, by the name that is stored with connections.

A new provider is a file beside this one and a line in it.
"""

from __future__ import annotations

from services.conversation.providers.chatwoot import CHATWOOT
from services.conversation.providers.evolution import EVOLUTION
from services.conversation.providers.sender import Sender

SENDERS: dict[str, Sender] = {sender.name: sender for sender in (CHATWOOT, EVOLUTION)}
"""Read at each use and never changed by what runs: tests add one of their own."""
