"""Stored answers: the same ``request_id`` and body get the same answer for 7 days, with another body an error.

Kept by the service that acts, in the transaction of the effect. A retry that runs beside the first call waits for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from google.protobuf.message import Message

from chassis.db import Database, Tx
from chassis.errors import AlreadyExists, InvalidArgument

Answer = TypeVar("Answer", bound=Message)


class IdempotencyStore:
    """The stored answers of one schema."""

    def __init__(self, schema: str) -> None:
        self._table = f"{schema}.request_answers"

    async def once(
        self,
        db: Database,
        organization_id: UUID,
        request: Message,
        answer_type: type[Answer],
        now: datetime,
        work: Callable[[Tx], Awaitable[Answer]],
    ) -> Answer:
        """The stored answer, or else that of ``work``, which is stored: both in one transaction of the organization.

        The method is what the request is called. Raises as ``claim`` does; what ``work`` raises is not stored.
        """
        method = request.DESCRIPTOR.name.removesuffix("Request")
        async with db.transaction(organization_id) as tx:
            answer = await self.claim(tx, organization_id, method, request, answer_type, now)
            if answer is None:
                answer = await work(tx)
                await self.keep(tx, organization_id, request, answer)
        return answer

    async def claim(
        self, tx: Tx, organization_id: UUID, method: str, request: Message, answer_type: type[Answer], now: datetime
    ) -> Answer | None:
        """The stored answer, or None when the work is to be done (``keep`` it then). No request_id: always None.

        Raises InvalidArgument REQUEST_ID_INVALID and AlreadyExists REQUEST_ID_REUSED.
        """
        request_id = _request_id(request)
        if request_id is None:
            return None
        claimed = await tx.execute(
            f"insert into {self._table} (organization_id, request_id, method, body_hash, create_time)"
            " values (%(organization_id)s, %(request_id)s, %(method)s, %(body_hash)s, %(now)s)"
            " on conflict do nothing returning 1",
            {
                "organization_id": organization_id,
                "request_id": request_id,
                "method": method,
                "body_hash": _body_hash(request),
                "now": now,
            },
        )
        if claimed.first() is not None:
            return None
        return await self.recall(tx, organization_id, method, request, answer_type)

    async def recall(
        self, tx: Tx, organization_id: UUID, method: str, request: Message, answer_type: type[Answer]
    ) -> Answer | None:
        """The stored answer, or None where there is none: for work that happens outside of the transaction.

        Raises as ``claim`` does.
        """
        request_id = _request_id(request)
        if request_id is None:
            return None
        stored = await tx.execute(
            f"select method, body_hash, answer from {self._table}"
            " where organization_id = %(organization_id)s and request_id = %(request_id)s",
            {"organization_id": organization_id, "request_id": request_id},
        )
        row = stored.one_or_none()
        if row is None:
            return None
        if row.method != method or bytes(row.body_hash) != _body_hash(request):
            raise AlreadyExists(
                "REQUEST_ID_REUSED", "This request_id was used for a different request. Choose a new one."
            )
        answer = answer_type()
        answer.ParseFromString(row.answer)
        return answer

    async def keep(self, tx: Tx, organization_id: UUID, request: Message, answer: Message) -> None:
        """Stores the answer that a retry is to get."""
        request_id = _request_id(request)
        if request_id is None:
            return
        await tx.execute(
            f"update {self._table} set answer = %(answer)s"
            " where organization_id = %(organization_id)s and request_id = %(request_id)s",
            {"organization_id": organization_id, "request_id": request_id, "answer": answer.SerializeToString()},
        )


def _request_id(request: Message) -> UUID | None:
    value: str = request.request_id  # type: ignore[attr-defined]
    if not value:
        return None
    try:
        return UUID(value)
    except ValueError:
        raise InvalidArgument("REQUEST_ID_INVALID", "request_id must be a UUID.") from None


def _body_hash(request: Message) -> bytes:
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
