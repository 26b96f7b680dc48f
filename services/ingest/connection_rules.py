"""The rules about connections and channels: what is refused, and which secrets stay. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit
from uuid import UUID

from chassis.errors import FailedPrecondition, FieldViolation, InvalidArgument
from services.ingest.limits import LIVE_SECRETS_MAX, SECRET_LENGTH_MIN

NAME_LENGTH_MAX = 200


def readable_name(name: str) -> str:
    """The name without blanks around it. Raises InvalidArgument NAME_INVALID for one with nothing to read."""
    cleaned = name.replace("\x00", "").strip()
    if not cleaned:
        raise InvalidArgument(
            "NAME_INVALID", "The name is empty.", violations=[FieldViolation("name", "must have something to read")]
        )
    return cleaned[:NAME_LENGTH_MAX]


def base_url(text: str) -> str:
    """The URL without its last slash; empty stays empty. Raises InvalidArgument BASE_URL_INVALID."""
    cleaned = text.strip().rstrip("/")
    if not cleaned:
        return ""
    try:
        parts = urlsplit(cleaned)
        usable = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and parts.username is None
            and parts.password is None
            and not parts.query
            and not parts.fragment
            and not any(character.isspace() or not character.isprintable() for character in cleaned)
        )
    except ValueError:
        usable = False
    if not usable:
        raise InvalidArgument(
            "BASE_URL_INVALID",
            "base_url must be the address of the provider's pages, such as https://chat.example.com, without user, "
            "query or fragment.",
            violations=[FieldViolation("base_url", "must be an http or https URL")],
        )
    return cleaned


def webhook_secret(text: str) -> str:
    """The secret as given; empty stays empty. Raises InvalidArgument SECRET_TOO_SHORT."""
    if text and len(text) < SECRET_LENGTH_MIN:
        raise InvalidArgument(
            "SECRET_TOO_SHORT",
            f"A webhook secret has at least {SECRET_LENGTH_MIN} characters.",
            violations=[FieldViolation("webhook_secret", f"must have at least {SECRET_LENGTH_MIN} characters")],
        )
    return text


def superseded_secrets(live: Mapping[UUID, str], added: str, *, only: bool) -> list[UUID]:
    """Which of the live secrets, newest first, stop counting when one is added.

    A secret that is added again takes no place from the other one.
    """
    others = [secret_id for secret_id, secret in live.items() if secret != added]
    kept = [] if only else others[: LIVE_SECRETS_MAX - 1]
    return [secret_id for secret_id in live if secret_id not in kept]


def ambiguous_channels(candidates: Sequence[tuple[UUID, str, int, UUID, str]]) -> FailedPrecondition:
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
        inbox_ids=",".join(str(inbox_id) for _, _, inbox_id, _, _ in candidates),
        connection_ids=",".join(str(connection_id) for _, _, _, connection_id, _ in candidates),
    )
