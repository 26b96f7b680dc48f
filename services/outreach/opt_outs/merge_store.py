"""Which addresses merges gave to other contacts, in SQL; every function runs in the caller's transaction."""

from __future__ import annotations

from uuid import UUID

from chassis import wire
from chassis.db import Tx
from prosa.identity.v1 import contact_service_pb2 as contact_pb
from services.outreach.domain import Speaker

_KEEP = """
insert into outreach.merged_addresses as known (organization_id, conversation_key, contact_merge_id,
  surviving_contact_id, losing_contact_id, merge_time, undone)
select %(organization_id)s::uuid, key, %(contact_merge_id)s::uuid, %(surviving_id)s::uuid, %(losing_id)s::uuid,
  %(merge_time)s::timestamptz, %(undone)s::boolean
from unnest(%(keys)b::text[]) key order by key
on conflict (organization_id, conversation_key, contact_merge_id) do update set undone = true
where excluded.undone and not known.undone
"""

# Whoever tells of an undoing waits for those who were told before, and gives what they write to whom it belongs.
_FIND = """
select surviving_contact_id, losing_contact_id, merge_time, undone from outreach.merged_addresses
where organization_id = %(organization_id)s and conversation_key = %(key)s
order by merge_time desc, contact_merge_id desc for share
"""


async def keep_merge(tx: Tx, organization_id: UUID, merge: contact_pb.ContactMerge, *, undone: bool) -> None:
    """Keeps what a merge moved, or that it was undone, in whichever order the two are told."""
    await tx.execute(
        _KEEP,
        {
            "organization_id": organization_id,
            "contact_merge_id": wire.to_uuid("contact_merge_id", merge.contact_merge_id),
            "surviving_id": wire.to_uuid("surviving_contact_id", merge.surviving_contact_id),
            "losing_id": wire.to_uuid("losing_contact_id", merge.losing_contact_id),
            "merge_time": wire.from_timestamp(merge.create_time),
            "undone": undone,
            "keys": sorted({identity.conversation_key for identity in merge.moved_identities}),
        },
    )


async def find_speaker(tx: Tx, organization_id: UUID, conversation_key: str, contact_id: UUID | None) -> Speaker:
    """Who speaks from an address in the name of a contact, whom a message may name from before a merge was undone."""
    found = await tx.execute(_FIND, {"organization_id": organization_id, "key": conversation_key})
    for row in found:
        if row.surviving_contact_id != contact_id:
            continue
        if not row.undone:
            return Speaker(contact_id, row.merge_time)
        contact_id = row.losing_contact_id
    return Speaker(contact_id)
