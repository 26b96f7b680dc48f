"""Rules of boards, stages and deals: no I/O, no clock, no protobuf."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from chassis.errors import FieldViolation, InvalidArgument

BOARD_KEY_LENGTH_MAX = 100
TITLE_LENGTH_MAX = 500
FALLBACK_TITLE = "Novo contato"
"""The title of a deal whose contact has no name yet."""

STANDARD_BOARD_KEY = "atendimento"
STANDARD_BOARD_NAME = "Atendimento"

_KEY = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_NOT_IN_KEY = re.compile(r"[^a-z0-9]+")
_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_PALETTE = ("#2563EB", "#0D9488", "#D97706", "#7C3AED", "#DB2777", "#16A34A", "#64748B")


class DealState(StrEnum):
    """How far a deal is; the values are those of the API."""

    OPEN = "OPEN"
    WON = "WON"
    LOST = "LOST"


StageWanted = tuple[str, str, DealState] | tuple[str, str, DealState, Sequence[str]]
"""Label, colour ("" for one of ours), what a deal becomes there, and further labels."""


class TaskState(StrEnum):
    """How far a reconciliation task is."""

    OPEN = "OPEN"
    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"


@dataclass(frozen=True, slots=True)
class StagePlan:
    """A stage as it is to be made."""

    label: str
    color: str
    """ "#RRGGBB" in capitals."""
    deal_state: DealState = DealState.OPEN
    aliases: tuple[str, ...] = ()
    """Further labels that flows know it by."""


STANDARD_STAGES = (
    StagePlan("Nova Interação", "#2563EB"),
    StagePlan("Em Atendimento", "#0D9488"),
    StagePlan("Aguardando Cliente", "#D97706"),
    StagePlan("Informações Fornecidas", "#7C3AED", aliases=("Info Fornecidas",)),
    StagePlan("Direcionado para Canal Oficial", "#DB2777", aliases=("Direcionado Canal Oficial", "Canal Oficial")),
    # Being served to the end is no sale: as WON it would count talks as revenue and open a new deal at every "thanks".
    StagePlan("Finalizado", "#16A34A"),
    StagePlan("Follow-up", "#64748B"),
)
"""The service board's path."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A place on a board."""

    id: UUID
    label: str
    position: int
    color: str
    deal_state: DealState
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Board:
    """A path that deals take; its stages are in their order."""

    organization_id: UUID
    id: UUID
    key: str
    name: str
    default_board: bool
    stages: tuple[Stage, ...]
    version: int
    create_time: datetime

    @property
    def first_stage(self) -> Stage:
        """Where a new deal begins: the first stage in which a deal is open."""
        return next(stage for stage in self.stages if stage.deal_state is DealState.OPEN)


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in the currency's smallest unit."""

    minor_units: int
    currency: str


@dataclass(frozen=True, slots=True)
class Deal:
    """A sale."""

    organization_id: UUID
    id: UUID
    contact_id: UUID
    board_id: UUID
    stage_id: UUID
    stage_label: str
    title: str
    value: Money | None
    state: DealState
    version: int
    create_time: datetime
    update_time: datetime
    stage_change_time: datetime
    close_time: datetime | None = None
    loss_reason: str = ""
    ai_summary: str = ""


@dataclass(frozen=True, slots=True)
class ReconciliationTask:
    """What people must decide about an identity."""

    organization_id: UUID
    id: UUID
    identity_conflict_id: UUID
    source: str
    external_id: str
    contact_id: UUID | None
    candidate_contact_ids: tuple[UUID, ...]
    state: TaskState
    create_time: datetime
    surviving_contact_id: UUID | None = None
    merged: bool = False
    contact_merge_ids: tuple[UUID, ...] = ()
    """The last first."""
    decide_time: datetime | None = None
    decider_principal: str = ""
    decider_name: str = ""
    version: int = 1


def board_key(key: str, name: str) -> str:
    """The key asked for, else the name as a slug: small letters, digits and single dashes.

    Raises InvalidArgument KEY_INVALID. A key of a UUID's form is refused, for a board is found by id or key.
    """
    chosen = key or _slug(name)
    if not _KEY.fullmatch(chosen) or len(chosen) > BOARD_KEY_LENGTH_MAX or is_uuid(chosen):
        advice = "Give a key of small letters, digits and dashes, such as atendimento."
        raise InvalidArgument("KEY_INVALID", advice, violations=[FieldViolation("key", advice)])
    return chosen


def board_name(name: str) -> str:
    """The name in one line. Raises InvalidArgument NAME_INVALID where nothing readable is left."""
    clean = one_line(name)
    if not clean:
        raise InvalidArgument("NAME_INVALID", "Give the board a name.", violations=[FieldViolation("name", "is empty")])
    return clean


def plan_stages(wanted: Sequence[StageWanted]) -> tuple[StagePlan, ...]:
    """Stages in the order asked for; the standard path when none is wanted.

    Raises InvalidArgument STAGE_LABEL_INVALID, STAGE_LABEL_TAKEN, COLOR_INVALID or BOARD_WITHOUT_OPEN_STAGE. Labels
    and aliases that differ only in case or accents count as one, for flows find a stage by what people write.
    """
    if not wanted:
        return STANDARD_STAGES
    plans = tuple(_plan_stage(place, *stage) for place, stage in enumerate(wanted))
    seen: set[str] = set()
    for place, plan in enumerate(plans):
        for field, name in [("label", plan.label), *(("aliases", alias) for alias in plan.aliases)]:
            folded = fold(name)
            if folded in seen:
                violation = FieldViolation(f"stages[{place}].{field}", "is there already, but for case and accents")
                raise InvalidArgument("STAGE_LABEL_TAKEN", f"Two stages read {name}.", violations=[violation])
            seen.add(folded)
    if all(plan.deal_state is not DealState.OPEN for plan in plans):
        raise InvalidArgument("BOARD_WITHOUT_OPEN_STAGE", "A board needs a stage in which a deal is open.")
    return plans


def new_board(
    new_id: Callable[[], UUID],
    organization_id: UUID,
    *,
    key: str,
    name: str,
    plans: Sequence[StagePlan],
    default_board: bool,
    now: datetime,
) -> Board:
    """A board that was not there, with its stages in the order of their plans."""
    board_id = new_id()
    stages = tuple(
        Stage(new_id(), plan.label, place, plan.color, plan.deal_state, plan.aliases)
        for place, plan in enumerate(plans)
    )
    return Board(organization_id, board_id, key, name, default_board, stages, version=1, create_time=now)


def standard_board(new_id: Callable[[], UUID], organization_id: UUID, now: datetime) -> Board:
    """The default board of an organization that has none when its first customer writes."""
    return new_board(
        new_id,
        organization_id,
        key=STANDARD_BOARD_KEY,
        name=STANDARD_BOARD_NAME,
        plans=STANDARD_STAGES,
        default_board=True,
        now=now,
    )


def new_deal(
    deal_id: UUID,
    organization_id: UUID,
    contact_id: UUID,
    *,
    board_id: UUID,
    stage_id: UUID,
    stage_label: str,
    title: str,
    state: DealState,
    value: Money | None,
    now: datetime,
) -> Deal:
    """A deal that was not there, under a title that can be read."""
    return Deal(
        organization_id=organization_id,
        id=deal_id,
        contact_id=contact_id,
        board_id=board_id,
        stage_id=stage_id,
        stage_label=stage_label,
        title=deal_title(title),
        value=value,
        state=state,
        version=1,
        create_time=now,
        update_time=now,
        stage_change_time=now,
        close_time=None if state is DealState.OPEN else now,
    )


def deal_title(text: str) -> str:
    """The title in one line; "Novo contato" where nothing readable is left."""
    return one_line(text)[:TITLE_LENGTH_MAX] or FALLBACK_TITLE


def deal_value(minor_units: int, currency: str) -> Money:
    """The worth of a deal. Raises InvalidArgument VALUE_INVALID or CURRENCY_INVALID."""
    if minor_units < 0:
        violation = FieldViolation("value.minor_units", "must not be negative")
        raise InvalidArgument("VALUE_INVALID", "A deal is worth nothing or more.", violations=[violation])
    if not _CURRENCY.fullmatch(currency):
        violation = FieldViolation("value.currency", "must be three capitals such as BRL")
        raise InvalidArgument("CURRENCY_INVALID", "Give the currency as in ISO 4217.", violations=[violation])
    return Money(minor_units, currency)


def one_line(text: str) -> str:
    """The text without control characters (PostgreSQL refuses NUL) and with single blanks."""
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    return " ".join("".join(" " if unicodedata.category(sign) == "Cc" else sign for sign in text).split())


def fold(text: str) -> str:
    """The text without case and accents, for comparing what people type."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(sign for sign in decomposed if not unicodedata.combining(sign)).split())


def is_uuid(text: str) -> bool:
    """Whether a text reads as a UUID, in any of its writings."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _slug(name: str) -> str:
    return _NOT_IN_KEY.sub("-", fold(name)).strip("-")[:BOARD_KEY_LENGTH_MAX].rstrip("-")


def _plan_stage(place: int, label: str, color: str, deal_state: DealState, aliases: Sequence[str] = ()) -> StagePlan:
    clean = one_line(label)
    if not clean:
        violation = FieldViolation(f"stages[{place}].label", "is empty")
        raise InvalidArgument("STAGE_LABEL_INVALID", "Give every stage a label.", violations=[violation])
    if color and not _COLOR.fullmatch(color):
        violation = FieldViolation(f"stages[{place}].color", "must read #RRGGBB")
        raise InvalidArgument("COLOR_INVALID", "Give colours as #RRGGBB, such as #2563EB.", violations=[violation])
    further = tuple(one_line(alias) for alias in aliases)
    if not all(further):
        violation = FieldViolation(f"stages[{place}].aliases", "holds an empty one")
        raise InvalidArgument("STAGE_LABEL_INVALID", "Leave out empty aliases.", violations=[violation])
    return StagePlan(clean, color.upper() or _PALETTE[place % len(_PALETTE)], deal_state, further)
