"""Which faults a run has: drawn from the seed, every kind on every process before any comes again."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from chassis.system import TARGETS
from embedded.servers import NAMES
from embedded.shapes import Shape

SERVERS = NAMES
LEANED_ON = ("postgres", "nats")
"""What an application needs when it starts."""
SECOND_INGEST = "ingest-2"
"""A second worker process beside ``ingest`` where every service has a process of its own."""
WORKERS = ("ingest", SECOND_INGEST)
SERVICE_PROCESSES = (*(target.name for target in TARGETS), SECOND_INGEST)
ISOLATED_SHARE = 0.5


class Kind(StrEnum):
    """What is done to a process or its files."""

    KILL = "kill"
    FREEZE = "freeze"
    HANG = "hang"
    """A freeze that lasts until the other worker has taken over what was at hand."""
    RESTART = "restart"
    """The orderly one: SIGTERM, and a new process when the old one is gone; perhaps while a server is frozen."""
    COLD_FROZEN = "cold, frozen"
    """A kill while a server is frozen, so that the new process finds nobody who answers."""
    COLD_DEAD = "cold, dead"
    """A kill while a server is down, so that the new process is refused."""
    STORE_DELETED = "store deleted"
    STORE_PUT_BACK = "store put back"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of the plan."""

    kind: Kind
    target: str
    isolated: bool
    """Whether the next one waits until the system has caught up after this one."""
    away: str = ""
    """The server that is away meanwhile."""


def applications_of(shape: Shape) -> tuple[str, ...]:
    """The processes of our own code."""
    match shape:
        case Shape.ALL:
            return ("all",)
        case Shape.RECEIVER:
            return ("receiver", "rest")
        case Shape.SERVICES:
            return SERVICE_PROCESSES


def processes_of(shape: Shape) -> tuple[str, ...]:
    """The processes that can be killed and frozen."""
    return (*applications_of(shape), *SERVERS)


def serves_http(target: str) -> bool:
    """Whether the process is the gateway's own."""
    return target in ("gateway", "all", "receiver")


def draw_plan(seed: int, fault_count: int, shape: Shape) -> list[Fault]:
    """So many faults: a deck with all of them is shuffled and dealt, again and again."""
    draw = random.Random(f"{seed} faults")
    plan: list[Fault] = []
    while len(plan) < fault_count:
        deck = _deck(shape, draw)
        draw.shuffle(deck)
        plan += [Fault(kind, target, draw.random() < ISOLATED_SHARE, away) for kind, target, away in deck]
    return plan[:fault_count]


def draw_short_plan(seed: int, shape: Shape) -> list[Fault]:
    """A kill, a freeze, the store deleted and the store put back, in an order and on processes that the seed draws."""
    draw = random.Random(f"{seed} faults")
    chosen = [(kind, draw.choice(processes_of(shape))) for kind in (Kind.KILL, Kind.FREEZE)]
    chosen += [(Kind.STORE_DELETED, "nats"), (Kind.STORE_PUT_BACK, "nats")]
    draw.shuffle(chosen)
    return [Fault(kind, target, isolated=False) for kind, target in chosen]


def _deck(shape: Shape, draw: random.Random) -> list[tuple[Kind, str, str]]:
    applications = applications_of(shape)
    deck = [(kind, target, "") for kind in (Kind.KILL, Kind.FREEZE) for target in processes_of(shape)]
    deck += [(Kind.STORE_DELETED, "nats", ""), (Kind.STORE_PUT_BACK, "nats", "")]
    deck += [(Kind.RESTART, draw.choice(applications), away) for away in ("", *LEANED_ON)]
    deck += [
        (kind, draw.choice(applications), away) for kind in (Kind.COLD_FROZEN, Kind.COLD_DEAD) for away in LEANED_ON
    ]
    if shape is Shape.SERVICES:
        deck += [(Kind.HANG, worker, "") for worker in WORKERS]
    return deck
