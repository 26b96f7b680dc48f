"""What must be so before an organization goes live, judged from what was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

DOCTOR_SECONDS = 6.0
"""What did not answer by then has failed. With what follows it stays well below what a call over HTTP may take."""
LOOK_SECONDS = 1.0
"""For looking whether automation is on."""
SWITCH_SECONDS = 2.0
"""For switching it, and looking how it is then."""
TAKE_BACK_SECONDS = 4.0
"""For taking back what waits; what is left then is taken back by whoever goes back once more."""
FIRST_EVENT_AGE = timedelta(hours=72)
"""How long ago the message may be that shows that a connection works."""
EVENT_WAIT_MAX = timedelta(seconds=30)
"""An event that waits for longer shows that what comes in is not processed."""
TEMPLATE_STAGES = (
    "Em Atendimento",
    "Aguardando Cliente",
    "Informações Fornecidas",
    "Direcionado para Canal Oficial",
    "Finalizado",
)
"""The stages that the n8n template moves deals to."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that was checked."""

    name: str
    passed: bool
    detail: str
    advice: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    duration_ms: int = 0
    skipped: bool = False
    """There is nothing to check."""


@dataclass(frozen=True, slots=True)
class Administrator:
    """Who may change what matters, if a second factor is set up."""

    email: str
    mfa_set_up: bool


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage with the labels that it is known by."""

    labels: tuple[str, ...]
    open: bool


def administrators(found: Sequence[Administrator]) -> Item:
    """At least one owner or admin can do what asks for a second factor."""
    able = [person.email for person in found if person.mfa_set_up]
    evidence = {"organization_administrators": [{"email": p.email, "mfa_set_up": p.mfa_set_up} for p in found]}
    if able:
        return Item(
            "administrators", passed=True, detail=f"{', '.join(able)}: second factor set up.", evidence=evidence
        )
    return Item(
        "administrators",
        passed=False,
        detail=f"None of {len(found)} owners and admins has set up a second factor"
        f"{': ' + ', '.join(person.email for person in found) if found else ''}.",
        advice="Have an owner sign in to the dashboard, which leads to setting it up.",
        evidence=evidence,
    )


def connection(name: str, checked: Sequence[tuple[str, bool, str]]) -> Item:
    """A connection's own check: the provider answers, knows the token, the inboxes and our webhook."""
    failed = [(part, detail) for part, passed, detail in checked if not passed]
    evidence = {"items": [{"name": part, "passed": passed, "detail": detail} for part, passed, detail in checked]}
    if not failed:
        return Item(f"connection:{name}", passed=True, detail=f"All {len(checked)} checks passed.", evidence=evidence)
    return Item(
        f"connection:{name}",
        passed=False,
        detail=f"{', '.join(part for part, _ in failed)}: failed.",
        advice=" ".join(detail for _, detail in failed),
        evidence=evidence,
    )


def at_rest(name: str) -> Item:
    """A connection whose channels are all switched off brings nobody."""
    return Item(f"connection:{name}", passed=True, skipped=True, detail="None of its channels is active.")


def no_connection() -> Item:
    """Nobody can write to an organization without one."""
    return Item(
        "connection",
        passed=False,
        detail="The organization has no connection with an active channel.",
        advice="Make one: prosa connection create for Chatwoot; a number is connected on the dashboard's page Numbers.",
    )


def board_stages(key: str, stages: Sequence[Stage]) -> Item:
    """The board begins with an open stage, and has each stage that automation moves deals to."""
    known = {label.casefold() for stage in stages for label in stage.labels}
    missing = [label for label in TEMPLATE_STAGES if label.casefold() not in known]
    closed = not stages or not stages[0].open
    evidence = {"board": key, "stages": [stage.labels[0] for stage in stages], "missing": missing}
    if not missing and not closed:
        return Item(
            f"board_stages:{key}", passed=True, detail=f"{len(stages)} stages, none is missing.", evidence=evidence
        )
    detail = f"Missing: {', '.join(missing)}." if missing else "The first stage does not hold open deals."
    return Item(
        f"board_stages:{key}",
        passed=False,
        detail=detail,
        advice="Give the board these stages, or the labels as aliases of its own.",
        evidence=evidence,
    )


def no_board() -> Item:
    """Deals have no place without one."""
    return Item(
        "board_stages",
        passed=False,
        detail="The organization has no board that its channels use.",
        advice="Make one, as the default board: POST /api/v1/boards.",
    )


def unanswered(name: str, why: str) -> Item:
    """What was asked did not answer, or refused to."""
    return Item(name, passed=False, detail=why, advice="Look at `prosa status`, then run it again.")


def late(name: str, seconds: float) -> Item:
    """What was asked has not ended in its time."""
    return unanswered(name, f"Not all was answered within {seconds:.0f} s.")


def first_event(name: str, seen: Mapping[str, str] | None, receive_time: datetime | None) -> Item:
    """A customer's message came in over the connection, and led to all that it should; ``seen`` are the ids."""
    if seen is not None and receive_time is not None:
        return Item(
            f"first_event:{name}",
            passed=True,
            detail=f"The message of {receive_time:%Y-%m-%dT%H:%M:%SZ} led to contact, deal and conversation.",
            evidence=seen,
        )
    return Item(
        f"first_event:{name}",
        passed=False,
        detail=f"No signed message of the last {FIRST_EVENT_AGE // timedelta(hours=1)} h led to contact, deal and "
        "conversation.",
        advice="Write to one of its inboxes as a customer would, then run it again; where the message came in, "
        "`prosa events list` says what became of it.",
    )


def automation(name: str, *, wanted: bool, enabled: bool, update_time: str, advice: str) -> Item:
    """Automation is as it should be, as whoever sends reads it; ``advice`` where it is not."""
    said = f"Automation is {'on' if enabled else 'off'}, as whoever sends reads it."
    return Item(
        name,
        passed=enabled is wanted,
        detail=said,
        advice="" if enabled is wanted else advice,
        evidence={"automation_enabled": enabled, "update_time": update_time},
    )


def deliveries_taken_back(cancelled_count: int, waiting_count: int, *, enabled: bool) -> Item:
    """Nothing automatic waits any more to be sent; ``enabled`` says that automation is on, so that it may leave."""
    evidence = {"cancelled_count": cancelled_count, "waiting_count": waiting_count, "automation_enabled": enabled}
    advice = ""
    if enabled:
        advice = "Automation is on, so nothing more was taken back. Run it again."
    elif waiting_count:
        advice = "None of them is sent while automation is off. Run it again."
    return Item(
        "deliveries_taken_back",
        passed=not advice,
        detail=f"{cancelled_count} automatic messages that waited were taken back, {waiting_count} wait still.",
        advice=advice,
        evidence=evidence,
    )


def events_accepted(
    connections: Sequence[str], refusing: Sequence[str], waiting_since: datetime | None, now: datetime
) -> Item:
    """What customers write still comes in: the acceptor takes each connection's webhooks, and none waits for long."""
    evidence = {
        "connections": list(connections),
        "refusing": list(refusing),
        "waiting_since": None if waiting_since is None else waiting_since.isoformat(),
    }
    if refusing:
        return Item(
            "events_accepted",
            passed=False,
            detail=f"Webhooks are refused: {', '.join(refusing)}.",
            advice="`prosa connection check` says why; a lost secret is given again by `prosa connection add-secret`.",
            evidence=evidence,
        )
    if waiting_since is not None and now - waiting_since > EVENT_WAIT_MAX:
        return Item(
            "events_accepted",
            passed=False,
            detail=f"An event of {waiting_since:%Y-%m-%dT%H:%M:%SZ} waits still to be processed.",
            advice="`prosa status` says what is away; nothing that waits is lost.",
            evidence=evidence,
        )
    if not connections:
        return Item(
            "events_accepted", passed=True, skipped=True, detail="There is no connection to come in over.", evidence={}
        )
    return Item(
        "events_accepted",
        passed=True,
        detail=f"The webhooks of {len(connections)} connections are accepted, and none waits.",
        evidence=evidence,
    )
