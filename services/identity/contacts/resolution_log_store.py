"""SQL of the resolution log: one row for everybody who was looked for, in the table of its outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from chassis.db import Tx
from services.identity.contacts.domain import Outcome
from services.identity.contacts.resolution_batch import Resolution

ERROR_MESSAGE_LENGTH_MAX = 500
_PROBLEMS = frozenset({Outcome.AMBIGUOUS, Outcome.ERROR})


async def add(tx: Tx, resolutions: Sequence[tuple[Resolution, str]], new_id: Callable[[], UUID], now: datetime) -> None:
    """Adds one row per resolution to the log, each with its error message, empty where there was no error."""
    problems = [entry for entry in resolutions if entry[0].outcome in _PROBLEMS]
    ordinary = [entry for entry in resolutions if entry[0].outcome not in _PROBLEMS] if problems else resolutions
    if ordinary:
        await tx.execute(_log_into("identity_resolutions", "'{}'", "''"), _log_columns(ordinary, new_id, now))
    if problems:
        columns = _log_columns(problems, new_id, now)
        columns["candidates"] = [",".join(map(str, entry.candidates)) for entry, _ in problems]
        columns["messages"] = [message[:ERROR_MESSAGE_LENGTH_MAX] for _, message in problems]
        statement = _log_into(
            "identity_resolution_problems",
            "string_to_array((%(candidates)b::text[])[place], ',')::uuid[]",
            "(%(messages)b::text[])[place]",
        )
        await tx.execute(statement, columns)


def _log_into(table: str, candidates: str, message: str) -> str:
    return f"""
        insert into identity.{table}
          (organization_id, identity_resolution_id, source, external_id, outcome, contact_id, contact_identity_id,
           candidate_contact_ids, error_message, cause_id, create_time)
        select organization_id, id, source, external_id, outcome, contact_id, contact_identity_id, {candidates},
          {message}, cause_id, %(now)s
        from unnest(%(organizations)b::uuid[], %(ids)b::uuid[], %(sources)b::text[], %(external_ids)b::text[],
          %(outcomes)b::text[], %(contacts)b::uuid[], %(identities)b::uuid[], %(causes)b::text[]) with ordinality
          as entry (organization_id, id, source, external_id, outcome, contact_id, contact_identity_id, cause_id, place)
        """


def _log_columns(
    entries: Sequence[tuple[Resolution, str]], new_id: Callable[[], UUID], now: datetime
) -> dict[str, Any]:
    return {
        "organizations": [entry.person.organization_id for entry, _ in entries],
        "ids": [new_id() for _ in entries],
        "sources": [entry.person.source for entry, _ in entries],
        "external_ids": [entry.person.external_id for entry, _ in entries],
        "outcomes": [entry.outcome.value for entry, _ in entries],
        "contacts": [entry.contact.id if entry.contact is not None else None for entry, _ in entries],
        "identities": [entry.identity.id if entry.identity is not None else None for entry, _ in entries],
        "causes": [entry.person.cause_id for entry, _ in entries],
        "now": now,
    }
