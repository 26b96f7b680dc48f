"""The rules about connections and channels: what is refused, and which secrets stay. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID

from chassis.addresses import USUAL_PORTS, AddressInvalid, read_url
from chassis.errors import Aborted, FailedPrecondition, FieldViolation, InvalidArgument
from services.ingest.limits import LIVE_SECRETS_MAX, SECRET_LENGTH_MIN, UNSIGNED_DAYS, UNSIGNED_DAYS_MAX

NAME_LENGTH_MAX = 200
ADDRESSING_FIELDS = frozenset({"connection_id", "channel_id", "etag", "request_id"})
"""Fields of an update that say what is meant; all others say what it is to be."""


def readable_name(name: str) -> str:
    """The name without blanks around it. Raises InvalidArgument NAME_INVALID for one with nothing to read."""
    cleaned = name.replace("\x00", "").strip()
    if not cleaned:
        raise InvalidArgument(
            "NAME_INVALID", "The name is empty.", violations=[FieldViolation("name", "must have something to read")]
        )
    return cleaned[:NAME_LENGTH_MAX]


def base_url(text: str) -> str:
    """The URL in its one spelling, without its last slash; empty stays empty.

    Raises InvalidArgument BASE_URL_INVALID.
    """
    cleaned = text.strip().rstrip("/")
    if not cleaned:
        return ""
    try:
        target = read_url(cleaned)
        if "?" in cleaned or "#" in cleaned:
            raise AddressInvalid("It must have neither query nor fragment.")
    except AddressInvalid as error:
        raise InvalidArgument(
            "BASE_URL_INVALID",
            "base_url must be the address of the provider's pages, such as https://chat.example.com, without user, "
            f"query or fragment. {error}",
            violations=[FieldViolation("base_url", "must be an http or https URL")],
        ) from None
    return target.url


def something_named(fields: Collection[str]) -> None:
    """Raises InvalidArgument NOTHING_TO_CHANGE unless an update names a field that it is to change."""
    if not set(fields) - ADDRESSING_FIELDS:
        raise InvalidArgument(
            "NOTHING_TO_CHANGE", "The request names nothing to change. Send the fields that are to be different."
        )


def etag_fresh(etag: str, version: int) -> None:
    """Raises Aborted ETAG_STALE where the etag is another version's; an empty one means any."""
    if etag and etag != str(version):
        raise Aborted("ETAG_STALE", "It was changed since it was read. Read it again, and decide anew.")


def token_stays_home(kept_url: str, wanted_url: str) -> None:
    """Raises FailedPrecondition ACCESS_TOKEN_NEEDED where the kept token would go to another server.

    Whoever may change an address could else have the token sent to themselves, and read what nobody can.
    """
    if wanted_url and _server(kept_url) != _server(wanted_url):
        raise FailedPrecondition(
            "ACCESS_TOKEN_NEEDED",
            "The access token that is kept was given for another server than base_url now names. Send access_token in "
            "the same request.",
        )


def _server(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or USUAL_PORTS.get(parts.scheme)


def server_of(url: str) -> str:
    """The server that a base_url names, in one spelling whatever its scheme; empty where it names none.

    Its path is part of it: below some paths a server answers what others have uploaded, and what answers there proves
    nothing of the server itself.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    path = parts.path.strip("/")
    below = f"/{path}" if host and path else ""
    if not host or parts.port in (None, *USUAL_PORTS.values()):
        return host + below
    return f"{host}:{parts.port}{below}"


def account_in_use(kept: int) -> FailedPrecondition:
    """ACCOUNT_IN_USE, naming the account."""
    return FailedPrecondition(
        "ACCOUNT_IN_USE",
        f"Messages of account {kept} were taken in over this connection; those of another account would be mixed with "
        "them. Create another connection for it.",
    )


def changed_fields(before: object, after: object, names: Sequence[str]) -> list[str]:
    """Which of the named attributes differ."""
    return [name for name in names if getattr(before, name) != getattr(after, name)]


def webhook_secret(text: str) -> str:
    """The secret as given; empty stays empty. Raises InvalidArgument SECRET_TOO_SHORT."""
    if text and len(text) < SECRET_LENGTH_MIN:
        raise InvalidArgument(
            "SECRET_TOO_SHORT",
            f"A webhook secret has at least {SECRET_LENGTH_MIN} characters.",
            violations=[FieldViolation("webhook_secret", f"must have at least {SECRET_LENGTH_MIN} characters")],
        )
    return text


def unsigned_end_time(given: datetime | None, kept: datetime | None, now: datetime) -> datetime:
    """Until when unsigned webhooks are taken: as given, else as kept, else UNSIGNED_DAYS from now.

    Raises InvalidArgument UNSIGNED_END_TIME_INVALID for an end that is too far away to be one.
    """
    if given is None:
        return kept or now + timedelta(days=UNSIGNED_DAYS)
    if given > now + timedelta(days=UNSIGNED_DAYS_MAX):
        raise InvalidArgument(
            "UNSIGNED_END_TIME_INVALID",
            f"unsigned_end_time is more than {UNSIGNED_DAYS_MAX} days ahead. Name an earlier one; it can move again.",
            violations=[FieldViolation("unsigned_end_time", f"must be within {UNSIGNED_DAYS_MAX} days")],
        )
    return given


def superseded_secrets(live: Mapping[UUID, str], added: str, *, only: bool) -> list[UUID]:
    """Which of the live secrets, newest first, stop counting when one is added.

    A secret that is added again takes no place from the other one.
    """
    others = [secret_id for secret_id, secret in live.items() if secret != added]
    kept = [] if only else others[: LIVE_SECRETS_MAX - 1]
    return [secret_id for secret_id in live if secret_id not in kept]


def ambiguous_channels(candidates: Sequence[tuple[UUID, str, str, UUID, str]]) -> FailedPrecondition:
    """CHANNEL_AMBIGUOUS naming the channels, each given as id, name, inbox, connection and the connection's name."""
    named = " and ".join(
        f'"{name}" (channel {channel_id}, inbox {inbox_id} of connection "{connection_name}")'
        for channel_id, name, inbox_id, _, connection_name in candidates
    )
    same_inbox = len({inbox_id for _, _, inbox_id, _, _ in candidates}) == 1
    by = "connection_id" if same_inbox else "inbox_id"
    return FailedPrecondition(
        "CHANNEL_AMBIGUOUS",
        f"More than one active channel matches, among them {named}. Name the one that is meant by its {by}.",
        channel_ids=",".join(str(channel_id) for channel_id, _, _, _, _ in candidates),
        inbox_ids=",".join(inbox_id for _, _, inbox_id, _, _ in candidates),
        connection_ids=",".join(str(connection_id) for _, _, _, connection_id, _ in candidates),
    )
