"""Answers and changes how conversations are answered."""

from __future__ import annotations

from dataclasses import fields, replace

import structlog

from chassis import auth
from chassis.clock import Clock
from chassis.crypto import Vault
from chassis.db import Database, Tx
from chassis.errors import FailedPrecondition, FieldViolation, InvalidArgument
from chassis.idempotency import IdempotencyStore
from chassis.outbox import Outbox
from chassis.outgoing import Outgoing, OutgoingError
from prosa.conversation.v1 import settings_service_pb2 as pb
from services.conversation.personas import store as persona_store
from services.conversation.personas.persona import etag_fresh, no_persona
from services.conversation.settings import messages, store
from services.conversation.settings.settings import ConversationSettings, fitting, not_overtaken

MODEL_KEY_COLUMN = "conversation_settings.model_key"
_NOT_TOLD = {"update_time", "version", "rollout_version"}
ROLLS_OUT = "service:ingest"
"""Who takes organizations live and back."""

logger = structlog.get_logger(__name__)


class Settings:
    """The conversation settings of organizations; each call is for the caller's own."""

    def __init__(
        self,
        db: Database,
        outbox: Outbox,
        idempotency: IdempotencyStore,
        vault: Vault,
        clock: Clock,
        outgoing: Outgoing,
    ) -> None:
        self._db, self._outbox, self._idempotency = db, outbox, idempotency
        self._vault, self._clock, self._outgoing = vault, clock, outgoing

    async def get(self) -> pb.ConversationSettings:
        """The caller's organization's."""
        organization_id = auth.organization_id()
        async with self._db.transaction(organization_id) as tx:
            return messages.settings_message(await store.find(tx, organization_id))

    async def update(self, request: pb.UpdateConversationSettingsRequest) -> pb.ConversationSettings:
        """Raises as UpdateConversationSettings says."""
        caller, organization_id, now = auth.caller(), auth.organization_id(), self._clock.now()
        changes = messages.changes(request)
        if request.rollout_version and caller.principal != ROLLS_OUT:
            raise InvalidArgument(
                "REQUEST_INVALID",
                "rollout_version is given by Prosa itself, as it takes an organization live or back. Leave it out.",
                violations=[FieldViolation("rollout_version", "must be left out")],
            )
        if "model_base_url" in changes:
            changes["model_base_url"] = self._address(request.model_base_url)
        key = request.model_key.strip()
        if key and not (key.isascii() and key.isprintable()):
            raise InvalidArgument(
                "REQUEST_INVALID",
                "model_key has a letter that no key has. Copy it anew, without what stands around it.",
                violations=[FieldViolation("model_key", "must be printable ASCII on one line")],
            )
        if key:
            changes["model_key_sealed"] = self._vault.seal(
                key.encode(), organization_id=organization_id, column=MODEL_KEY_COLUMN
            )

        async def update(tx: Tx) -> pb.ConversationSettings:
            before = await store.lock(tx, ConversationSettings(organization_id, update_time=now))
            etag_fresh(before.version, request.etag)
            not_overtaken(before, request.rollout_version)
            after = replace(before, **changes, rollout_version=request.rollout_version or before.rollout_version)
            fitting(before, after, key_given=bool(key))
            # Also one that stays: it must not end meanwhile.
            named = [] if after.persona_id is None else [after.persona_id]
            if len(await persona_store.hold(tx, organization_id, named)) != len(named):
                raise no_persona()
            changed = _changed(before, after)
            if not changed:
                if after != before:
                    # Nothing is another, but what belongs to earlier changes comes too late from now on.
                    await store.update(tx, after)
                return messages.settings_message(before)
            after = replace(after, update_time=now, version=before.version + 1)
            await store.update(tx, after)
            fact = messages.settings_changed(after, changed, caller.principal, caller.name)
            await self._outbox.add(tx, [fact], now)
            logger.info(
                "conversation_settings_changed",
                organization_id=str(organization_id),
                changed=changed,
                principal=caller.principal,
                reason=request.reason,
            )
            return messages.settings_message(after)

        return await self._idempotency.once(self._db, organization_id, request, pb.ConversationSettings, now, update)

    def _address(self, text: str) -> str:
        try:
            target = self._outgoing.read(text.strip())
        except OutgoingError as error:
            raise InvalidArgument(
                "URL_INVALID",
                f"model_base_url must be an http or https address, such as https://api.openai.com/v1. {error.detail}",
                violations=[FieldViolation("model_base_url", "must be an http or https URL")],
            ) from None
        if self._outgoing.refuses(target):
            raise FailedPrecondition(
                "ADDRESS_PRIVATE",
                "model_base_url leads into a private network. Name a public address, or let the operator list the host "
                "in PROSA_ALLOWED_HOSTS.",
            )
        return target.url.rstrip("/")


def _changed(before: ConversationSettings, after: ConversationSettings) -> list[str]:
    """The fields that are another now, as the contract calls them."""
    names = [field.name for field in fields(after) if field.name not in _NOT_TOLD]
    return [name.removesuffix("_sealed") for name in names if getattr(before, name) != getattr(after, name)]
