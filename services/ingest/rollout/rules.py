"""What must be so before an organization goes live, judged from what was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DOCTOR_SECONDS = 10.0
"""What did not answer by then has failed."""
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
        advice="Make one: prosa connection create.",
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
