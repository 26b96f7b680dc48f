"""The registry: every provider that webhooks come from, by the name that is stored with connections and events.

A new provider is a folder beside this file and a line in it.
"""

from __future__ import annotations

from services.ingest.providers.chatwoot.provider import CHATWOOT
from services.ingest.providers.evolution.provider import EVOLUTION
from services.ingest.providers.provider import Provider

PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in (CHATWOOT, EVOLUTION)}
"""Read at each use and never changed by what runs: tests add one of their own."""


def by_number(number: int) -> Provider | None:
    """The provider that the contract gives this number, None where this release knows none."""
    return next((provider for provider in PROVIDERS.values() if provider.number == number), None)


def number_of(name: str) -> int:
    """The number that the contract gives a stored provider, 0 where this release knows none of that name."""
    provider = PROVIDERS.get(name)
    return 0 if provider is None else provider.number
