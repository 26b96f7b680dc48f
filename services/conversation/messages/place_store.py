"""Where what a provider without conversations tells belongs: to the contact's one conversation with the connection.

Its id is the contact's at the first message. A contact may have been merged since, or be known by another id of the
network: it stays the same conversation. A bare status names nobody for certain and goes where its message is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from chassis.db import Tx
from chassis.redirects import Redirects
from services.conversation.messages.domain.record import Item

REDIRECTS = Redirects("conversation")


async def find_places(tx: Tx, items: Sequence[Item]) -> list[Item]:
    """The items, each with its conversation's id; where no item needs one, nothing is asked."""
    contacts = {
        (item.organization_id, item.contact_id, item.connection_id)
        for item in items
        if item.unplaced and item.contact_id
    }
    messages = {
        (item.organization_id, item.channel_id, item.message.provider_message_id)
        for item in items
        if item.unplaced and not item.contact_id and item.message is not None
    }
    by_contact = await find_contacts_places(tx, contacts) if contacts else {}
    by_message = await _of_messages(tx, messages) if messages else {}
    placed: list[Item] = []
    for item in items:
        found = None
        if item.unplaced and item.contact_id:
            found = by_contact.get((item.organization_id, item.contact_id, item.connection_id))
        elif item.unplaced and item.message_key is not None:
            found = by_message.get(item.message_key)
        placed.append(item if found is None else replace(item, provider_conversation_id=found))
    return placed


async def find_contacts_places(tx: Tx, contacts: set[tuple[str, str, str]]) -> dict[tuple[str, str, str], str]:
    """By organization, contact and connection, the id of the conversation in which anything was said last.

    Read through redirects: every contact that now stands for the same person may have had one.
    """
    survivors = await REDIRECTS.resolve(tx, {UUID(contact_id) for _, contact_id, _ in contacts})
    former = await REDIRECTS.merged_into(tx, set(survivors.values()))
    wanted = [(*contact, str(kept)) for contact in sorted(contacts) for kept in former[survivors[UUID(contact[1])]]]
    rows = await tx.execute(
        """
        select distinct on (wanted.organization_id, wanted.contact_id, wanted.connection_id)
          wanted.organization_id, wanted.contact_id, wanted.connection_id, conversations.provider_conversation_id
        from unnest(%(organization_ids)b::text[], %(contact_ids)b::text[], %(connection_ids)b::text[],
            %(kept)b::text[]) as wanted (organization_id, contact_id, connection_id, kept)
        join conversation.conversations on conversations.organization_id = wanted.organization_id::uuid
          and conversations.provider_conversation_id = wanted.kept
          and conversations.connection_id = wanted.connection_id::uuid
        order by wanted.organization_id, wanted.contact_id, wanted.connection_id, conversations.activity_time desc
        """,
        {
            "organization_ids": [organization_id for organization_id, _, _, _ in wanted],
            "contact_ids": [contact_id for _, contact_id, _, _ in wanted],
            "connection_ids": [connection_id for _, _, connection_id, _ in wanted],
            "kept": [kept for _, _, _, kept in wanted],
        },
    )
    return {
        (organization_id, contact_id, connection_id): found
        for organization_id, contact_id, connection_id, found in rows
    }


async def _of_messages(tx: Tx, messages: set[tuple[str, str, str]]) -> dict[tuple[str, str, str], str]:
    """By organization, channel and the provider's id of a message, the id of the conversation that it is in."""
    wanted = sorted(messages)
    rows = await tx.execute(
        """
        select distinct on (organization_id, channel_id, provider_message_id)
          message_keys.organization_id::text, message_keys.channel_id::text, message_keys.provider_message_id,
          conversations.provider_conversation_id
        from unnest(%(organization_ids)b::text[]::uuid[], %(channel_ids)b::text[]::uuid[], %(ids)b::text[])
          as wanted (organization_id, channel_id, provider_message_id)
        join conversation.message_keys using (organization_id, channel_id, provider_message_id)
        join conversation.conversations on conversations.conversation_id = message_keys.conversation_id
          and conversations.organization_id = message_keys.organization_id
        order by organization_id, channel_id, provider_message_id, message_keys.generation desc
        """,
        {
            "organization_ids": [organization_id for organization_id, _, _ in wanted],
            "channel_ids": [channel_id for _, channel_id, _ in wanted],
            "ids": [message_id for _, _, message_id in wanted],
        },
    )
    return {(organization_id, channel_id, message_id): found for organization_id, channel_id, message_id, found in rows}
