"""What a connected number is, and what reports and looks at the provider make of it. No I/O, no clock, no protobuf."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from urllib.parse import urlsplit
from uuid import UUID

from chassis.canonical import Source, try_identify

QR_LIFE = timedelta(seconds=45)
"""How long Evolution lets a code be scanned before it draws the next."""
PROBE_EVERY = timedelta(seconds=60)
PROBE_EVERY_UNTIL_OPEN = timedelta(seconds=10)
FAILED_PROBES_MAX = 3
"""After so many looks without an answer a number is not taken for connected any more."""
NAME_LENGTH_MAX = 255


class State(StrEnum):
    CREATING = "CREATING"
    QR = "QR"
    CONNECTING = "CONNECTING"
    OPEN = "OPEN"
    CLOSED = "CLOSED"
    BANNED = "BANNED"
    UNREACHABLE = "UNREACHABLE"
    FAILED = "FAILED"


SCAN = "Open WhatsApp on the phone, choose linked devices, and scan the code."
PAIR_AGAIN = "Ask for a connection again, and scan the new code with the phone."
FAULT = "Prosa cannot ask about it: a fault of its own, or keys that do not open what it is asked with. The log tells."
WAIT = "It is tried again by itself."
BANNED = "WhatsApp has blocked the number. Appeal in the WhatsApp app, and do not pair it again until that is decided."
SEE_EVOLUTION = (
    "See whether Evolution runs and can be reached from here, and correct its address where it is another; it is asked "
    "again by itself."
)
CORRECT = "Correct address and key: on the page Numbers, or with `prosa connection update`."

TRANSIENT_REASONS = frozenset({408, 428, 440, 503, 515})
"""Evolution connects again by itself after these."""
_CLOSED_CAUSES = {
    401: "The phone has logged this device out.",
    402: "WhatsApp has closed the session.",
    406: "WhatsApp does not take the session any more.",
    411: "The phone's pairing with several devices does not fit any more.",
    500: "The session is broken.",
}


@dataclass(slots=True)
class Instance:
    """A row of ``instances``, in the order of its columns."""

    organization_id: UUID
    instance_id: UUID
    connection_id: UUID
    channel_id: UUID
    name: str
    provider_instance_name: str
    base_url: str
    webhook_url: str
    wanted_phone: str
    access_token_sealed: bytes
    webhook_secret_sealed: bytes
    own_token_sealed: bytes
    """The instance's own token, drawn here: it can do no more than the one number."""
    state: State
    state_time: datetime
    create_time: datetime
    cause: str = ""
    advice: str = ""
    phone: str = ""
    profile_name: str = ""
    last_event_time: datetime | None = None
    last_probe_time: datetime | None = None
    qr_count: int = 0
    qr_sealed: bytes | None = None
    qr_expire_time: datetime | None = None
    made: bool = False
    """Evolution has it."""
    connect_wanted: bool = False
    """Somebody asked for a connection, and the provider has not been asked yet."""
    failed_probes: int = 0
    version: int = 1


@dataclass(frozen=True, slots=True)
class Report:
    """What one webhook said."""

    receive_time: datetime
    connection_state: str = ""
    status_reason: int = 0
    qr_code: str = ""
    pairing_code: str = ""
    own_jid: str = ""
    profile_name: str = ""


@dataclass(frozen=True, slots=True)
class Qr:
    """A code to be scanned."""

    code: str
    pairing_code: str = ""


def shown(instance: Instance) -> tuple[object, ...]:
    """All that a reader can tell, but for when it was last heard of."""
    return (
        *(instance.state, instance.cause, instance.advice, instance.phone),
        *(instance.profile_name, instance.qr_count, instance.name),
    )


def move(instance: Instance, state: State, now: datetime, cause: str = "", advice: str = "") -> None:
    """Puts it into a state; a code is worth nothing in any other than QR."""
    if state is not instance.state:
        instance.state, instance.state_time = state, now
    instance.cause, instance.advice = cause, advice
    if state is not State.QR:
        instance.qr_sealed, instance.qr_expire_time = None, None
    if state is State.OPEN:
        instance.failed_probes, instance.connect_wanted = 0, False


def take_report(instance: Instance, report: Report, kept: Qr | None) -> Qr | None:
    """Changes it by a webhook, and answers the code that it is to keep; an older report than is known changes nothing.

    ``kept`` is the code that it has: told twice, it is no other.
    """
    if instance.last_event_time is not None and report.receive_time < instance.last_event_time:
        return kept
    instance.last_event_time, instance.made = report.receive_time, True
    now = report.receive_time
    if report.qr_code:
        return take_code(instance, Qr(report.qr_code, report.pairing_code), kept, now)
    match report.connection_state:
        case "open":
            move(instance, State.OPEN, now)
            _name(instance, report)
        case "connecting":
            # Told before the first code too, in whichever order the two come: the code that is shown still counts.
            if instance.state not in (State.QR, State.CREATING):
                move(instance, State.CONNECTING, now, "It is being connected.", WAIT)
        case "close":
            _close(instance, report.status_reason, now)
        case "refused":
            move(instance, State.CLOSED, now, "The QR codes ran out before one was scanned.", PAIR_AGAIN)
        case _:
            pass
    return kept if instance.state is State.QR else None


def take_code(instance: Instance, code: Qr, kept: Qr | None, now: datetime) -> Qr:
    """Lets it wait for a code to be scanned."""
    if kept is None or kept.code != code.code:
        instance.qr_count += 1
        move(instance, State.QR, now, "A QR code waits to be scanned.", SCAN)
        instance.qr_expire_time = now + QR_LIFE
    return code


def take_probe(instance: Instance, state: str, now: datetime) -> None:
    """Changes it by what the provider answered when it was asked."""
    instance.last_probe_time, instance.failed_probes = now, 0
    if state == "open":
        if instance.state is not State.OPEN:
            move(instance, State.OPEN, now)
    elif state == "connecting":
        if instance.state in (State.OPEN, State.UNREACHABLE):
            move(instance, State.CONNECTING, now, "It lost its connection and is being connected.", WAIT)
    elif state == "close":
        if instance.state in (State.OPEN, State.UNREACHABLE):
            # A short loss looks the same: the next look, ten seconds on, tells.
            move(instance, State.CONNECTING, now, "It lost its connection.", WAIT)
        elif instance.state is State.CONNECTING:
            move(instance, State.CLOSED, now, "It is not connected any more.", PAIR_AGAIN)
    if instance.state is State.QR and instance.qr_expire_time is not None and instance.qr_expire_time <= now:
        instance.qr_sealed = None


def elsewhere(kept_url: str, wanted_url: str) -> bool:
    """Whether an address is another host's."""
    return urlsplit(kept_url).hostname != urlsplit(wanted_url).hostname


def take_access(instance: Instance, base_url: str, now: datetime) -> None:
    """Lets Evolution be asked where it really is, or with its real key, from the beginning where it was not reached."""
    moved, instance.base_url = instance.base_url != base_url, base_url
    if moved and instance.made:
        # It has the instance or makes it; either way it is asked to connect it.
        instance.made, instance.connect_wanted = False, True
    if not instance.made:
        instance.failed_probes = 0
        move(instance, State.CREATING, now, "Evolution is being asked to make it.")


def miss_probe(instance: Instance, now: datetime) -> None:
    """Counts a look that brought no answer."""
    instance.failed_probes += 1
    if instance.failed_probes >= FAILED_PROBES_MAX and instance.state in (State.OPEN, State.CONNECTING, State.QR):
        move(instance, State.UNREACHABLE, now, "Evolution does not answer.", SEE_EVOLUTION)


def next_look(instance: Instance, now: datetime) -> datetime:
    """When the provider is asked next."""
    return now + (PROBE_EVERY if instance.state is State.OPEN else PROBE_EVERY_UNTIL_OPEN)


def _close(instance: Instance, reason: int, now: datetime) -> None:
    if reason in TRANSIENT_REASONS:
        move(instance, State.CONNECTING, now, "It lost its connection.", WAIT)
    elif reason == 403:
        move(instance, State.BANNED, now, "WhatsApp forbids it.", BANNED)
    else:
        move(instance, State.CLOSED, now, _CLOSED_CAUSES.get(reason, "It was disconnected."), PAIR_AGAIN)


def _name(instance: Instance, report: Report) -> None:
    own = try_identify(Source.WHATSAPP, report.own_jid) if "@" in report.own_jid else None
    if own is not None and own.phone is not None:
        instance.phone = own.phone
    if report.profile_name:
        instance.profile_name = report.profile_name[:NAME_LENGTH_MAX]
