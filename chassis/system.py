"""The one table of what Prosa consists of: services, what each of them may call, and what can be started.

Schemas and roles, keys, addresses, the shapes of `prosa up`, what the gateway looks for in contracts, and the page of
settings follow from it; tests compare the import rules and the modules that start with it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """Who signs tokens of its own: a service, the gateway, or the command line."""

    name: str
    calls: tuple[str, ...]
    """The services whose RPCs it may call, besides its own."""
    schema: bool = True
    """Owns a schema, with a role that signs in and one that owns the tables."""
    seals: bool = False
    """Keeps secrets, and so needs the encryption keys."""


@dataclass(frozen=True, slots=True)
class Target:
    """What `prosa serve --target` starts. It acts as a service; its module is that service's."""

    name: str
    does: str
    within: str = ""
    """The target that holds it too: a process that runs both runs that one alone."""


_EVERY_SERVICE = ("identity", "ingest", "conversation", "outreach", "crm")

PRINCIPALS = (
    Principal("identity", calls=(), seals=True),
    Principal("gateway", calls=_EVERY_SERVICE, schema=False),
    Principal("ingest", calls=("identity", "crm", "conversation"), seals=True),
    Principal("conversation", calls=("identity", "outreach"), seals=True),
    Principal("outreach", calls=("identity",)),
    Principal("crm", calls=("identity",)),
    Principal("cli", calls=_EVERY_SERVICE, schema=False),
)

TARGETS = (
    Target("gateway", "HTTP: webhooks, REST, live updates, documentation"),
    Target("ingest-accept", "the acceptor: ``AcceptWebhooks`` alone", within="ingest"),
    Target("ingest", "connections, processing, dead letters, the event feed (and the acceptor)"),
    Target("identity", "organizations, members, keys; contacts and their identities"),
    Target("conversation", "conversations and messages"),
    Target("outreach", "suppressions, the kill switch, what may be sent"),
    Target("crm", "boards, deals, reconciliation tasks"),
)

GATEWAY, ACCEPT = "gateway", "ingest-accept"
SERVICES = tuple(principal.name for principal in PRINCIPALS if principal.schema)
"""Those with a schema and a role of their own, and an address where they are dialled."""
ISSUERS = tuple(principal.name for principal in PRINCIPALS)
"""Who has a key file."""
SEALING = frozenset(principal.name for principal in PRINCIPALS if principal.seals)
CALLS = {principal.name: frozenset((principal.name, *principal.calls)) for principal in PRINCIPALS}
"""By who calls: the services whose RPCs it may call."""


def service_of(target: str) -> str:
    """The service that a target acts as: ``ingest`` for ``ingest-accept``."""
    return target.partition("-")[0]
