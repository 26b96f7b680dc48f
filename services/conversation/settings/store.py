"""Conversation settings in SQL; every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from chassis.db import Tx
from services.conversation.settings.settings import ConversationSettings, ReplyMode

COLUMNS = (
    *("automation_enabled", "reply_mode", "persona_id", "debounce_seconds", "debounce_max_seconds"),
    *("model_base_url", "model_name", "model_key_sealed", "model_day_token_limit", "update_time", "version"),
    "rollout_version",
)

# The first change of settings waits for another first change, and then finds its row.
_LOCK = f"""
insert into conversation.conversation_settings (organization_id, {", ".join(COLUMNS)})
values (%(organization_id)s, {", ".join(f"%({column})s" for column in COLUMNS)})
on conflict (organization_id) do nothing
"""
_FIND = f"""
select organization_id, {", ".join(COLUMNS)} from conversation.conversation_settings
where organization_id = any (%(organization_ids)b::uuid[])
"""
_UPDATE = f"""
update conversation.conversation_settings set {", ".join(f"{column} = %({column})s" for column in COLUMNS)}
where organization_id = %(organization_id)s
"""


async def find(tx: Tx, organization_id: UUID) -> ConversationSettings:
    """The organization's settings; those that everybody begins with where it has changed nothing."""
    return (await find_all(tx, [organization_id]))[organization_id]


async def find_all(tx: Tx, organization_ids: Collection[UUID]) -> dict[UUID, ConversationSettings]:
    """Each organization's settings."""
    found = await tx.execute(_FIND, {"organization_ids": list(organization_ids)})
    settings = {row.organization_id: _settings(row) for row in found}
    return {known: settings.get(known) or ConversationSettings(known) for known in organization_ids}


async def uses_of(tx: Tx, organization_id: UUID, persona_id: UUID) -> list[str]:
    """What here uses a persona, in words."""
    settings = await find(tx, organization_id)
    return ["the conversation settings"] if settings.persona_id == persona_id else []


async def lock(tx: Tx, beginning: ConversationSettings) -> ConversationSettings:
    """The organization's settings, locked; ``beginning`` where it has changed nothing."""
    await tx.execute(_LOCK, _values(beginning))
    found = await tx.execute(f"{_FIND} for update", {"organization_ids": [beginning.organization_id]})
    return _settings(found.one())


async def update(tx: Tx, settings: ConversationSettings) -> None:
    """Writes settings that are locked."""
    await tx.execute(_UPDATE, _values(settings))


def _values(settings: ConversationSettings) -> dict[str, Any]:
    values = {column: getattr(settings, column) for column in COLUMNS}
    return {**values, "organization_id": settings.organization_id, "reply_mode": settings.reply_mode.value}


def _settings(row: Any) -> ConversationSettings:
    values = {column: getattr(row, column) for column in COLUMNS}
    values["reply_mode"] = ReplyMode(row.reply_mode)
    values["update_time"] = row.update_time if row.version else None
    return ConversationSettings(row.organization_id, **values)
