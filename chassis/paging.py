"""Paging by the last row's sort key, never by an offset (AIP-158)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import orjson
from google.protobuf.message import Message

from chassis.errors import InvalidArgument
from chassis.json_reading import read_json

PAGE_SIZE = 50
PAGE_SIZE_MAX = 250
_PAGE_FIELDS = ("page_size", "page_token")

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Page:
    """Which rows a list is to answer."""

    size: int
    after: tuple[str, ...] | None
    """The sort key of the last row already seen, as texts; None at the beginning."""
    filter_hash: str

    def after_id(self) -> UUID | None:
        """The id that the key ends with, for a list ordered by it alone. Raises InvalidArgument PAGE_TOKEN_INVALID."""
        if self.after is None:
            return None
        try:
            return UUID(self.after[-1])
        except ValueError:
            raise token_invalid() from None

    def after_moment(self) -> tuple[datetime, UUID] | None:
        """The time and id of the key, for a list ordered by both. Raises InvalidArgument PAGE_TOKEN_INVALID."""
        if self.after is None:
            return None
        try:
            moment = datetime.fromisoformat(self.after[0])
        except ValueError:
            raise token_invalid() from None
        if moment.tzinfo is None:
            raise token_invalid()
        return moment, UUID(str(self.after_id()))

    def cut(self, rows: Sequence[Row], key: Callable[[Row], Sequence[object]]) -> tuple[Sequence[Row], str]:
        """Of ``size + 1`` rows read, those to answer, and the token of the next page ("" at the end)."""
        if len(rows) <= self.size:
            return rows, ""
        shown = rows[: self.size]
        token = orjson.dumps([self.filter_hash, [str(part) for part in key(shown[-1])]])
        return shown, base64.urlsafe_b64encode(token).rstrip(b"=").decode()


def read_page(request: Message, key_length: int = 1) -> Page:
    """The page that a list request asks for; its other fields are the filter that the token is bound to.

    Raises InvalidArgument PAGE_SIZE_INVALID or PAGE_TOKEN_INVALID.
    """
    size = read_size(request.page_size)  # type: ignore[attr-defined]
    token: str = request.page_token  # type: ignore[attr-defined]
    unpaged = type(request)()
    unpaged.CopyFrom(request)
    for field in _PAGE_FIELDS:
        unpaged.ClearField(field)
    body = request.DESCRIPTOR.full_name.encode() + unpaged.SerializeToString(deterministic=True)
    filter_hash = hashlib.sha256(body).hexdigest()[:16]
    after = _read_token(token, filter_hash, key_length) if token else None
    return Page(size=size, after=after, filter_hash=filter_hash)


def read_size(page_size: int) -> int:
    """How many rows a list answers at most: as many as asked for, within our own limit. Raises PAGE_SIZE_INVALID."""
    if page_size < 0:
        raise InvalidArgument("PAGE_SIZE_INVALID", "page_size must not be negative.")
    return min(page_size or PAGE_SIZE, PAGE_SIZE_MAX)


def token_invalid() -> InvalidArgument:
    """The refusal of a token that this list did not give."""
    return InvalidArgument(
        "PAGE_TOKEN_INVALID", "This page_token is not one of this list with this filter. Start again without it."
    )


def _read_token(token: str, filter_hash: str, key_length: int) -> tuple[str, ...]:
    refused = token_invalid()
    try:
        made_for, key = read_json(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (binascii.Error, ValueError, TypeError):
        raise refused from None
    if made_for != filter_hash or not isinstance(key, list) or len(key) != key_length:
        raise refused
    if not all(isinstance(part, str) for part in key):
        raise refused
    return tuple(key)
