"""Two organizations with the same account and inbox numbers: each fares as it does alone, whatever the other does.

Drawn are their secrets, the servers they name, and what is sent to which address. Everything is done twice: by two who
share all numbers, and by each of them with an account number of its own. What was answered and what there is afterwards
must be the same: neither reads, changes, stops nor learns of the other.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sandbox.chatwoot.signing import signed_request
from tests.harness import (
    INSTAGRAM_INBOX,
    PAGE_INBOX,
    SECRET,
    WHATSAPP_INBOX,
    Harness,
    changed,
    open_harness,
    sample,
)
from tests.world import World

EXAMPLES = 8
STEPS_MAX = 6
SECRETS = (SECRET, "whsec-of-the-other-9876543210")
SERVER, ELSEWHERE = "https://chat.example.com", "https://chat.example.org"
MESSAGE, CONVERSATION = "message_created.whatsapp_cloud.incoming", "conversation_created.whatsapp_cloud"
CONTACT = "contact_created.whatsapp_cloud"
TABLES = ("identity.contacts", "identity.contact_identities", "conversation.conversations", "conversation.messages")


@dataclass(frozen=True)
class Side:
    """How one of the two is set up."""

    signs: bool
    server: str
    inboxes: tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """One webhook: of which of the two, in which words, over which address, and signed with whose secret."""

    side: int
    body: str
    number: int
    inbox_id: int
    legacy: bool
    signed_by: int | None
    """The side whose secret signs it; None for nobody's."""


sides = st.builds(
    Side,
    signs=st.booleans(),
    server=st.sampled_from(["", SERVER, ELSEWHERE]),
    inboxes=st.sampled_from([(WHATSAPP_INBOX,), (WHATSAPP_INBOX, PAGE_INBOX), (INSTAGRAM_INBOX,)]),
)
steps = st.builds(
    Step,
    side=st.integers(0, 1),
    body=st.sampled_from([MESSAGE, CONVERSATION, CONTACT]),
    number=st.integers(1, 3),
    inbox_id=st.sampled_from([WHATSAPP_INBOX, PAGE_INBOX]),
    legacy=st.booleans(),
    signed_by=st.sampled_from([0, 1, None]),
)


async def opened(
    world: World, session: aiohttp.ClientSession, number: int, side: Side, account_id: int | None = None
) -> Harness:
    """One of the two; with an account number of its own where none is given."""
    secret = SECRETS[number] if side.signs else ""
    return await open_harness(
        world, session, account_id=account_id, secret=secret, inboxes=side.inboxes, base_url=side.server
    )


async def send(harness: Harness, step: Step) -> tuple[int, str]:
    """Sends one; answers the status and what was told beside ids."""
    body = sample(step.body)
    if step.body == CONTACT:
        body = changed(body, id=500 + step.number, phone_number=f"+551190000{step.number:04}")
    elif step.body == CONVERSATION:
        body = changed(body, id=700 + step.number, inbox_id=step.inbox_id)
    else:
        body = changed(body, id=900 + step.number, inbox__id=step.inbox_id, conversation__inbox_id=step.inbox_id)
    raw = harness.encoded(body)
    # The same secrets for those who are alone: a signature of the other's is nobody's there.
    secret = None if step.signed_by is None else SECRETS[step.signed_by]
    headers = signed_request(raw, secret, str(uuid4()), int(harness.world.clock.now().timestamp()))
    url = harness.legacy_url if step.legacy else harness.webhook_url
    async with harness.session.post(url, data=raw, headers=headers) as response:
        answer: dict[str, Any] = await response.json(content_type=None)
    told = answer.get("ignored") or answer.get("reason") or answer.get("error") or "stored"
    return response.status, str(told)


async def state(harness: Harness) -> list[Any]:
    """All that an organization has, without what differs by itself."""
    await harness.world.until(
        "select 1 where not exists (select from ingest.webhook_events"
        " where organization_id = %s and state = 'PENDING')",
        harness.organization_id,
    )
    events = await harness.world.rows(
        "select event, state, reason, signed from ingest.webhook_events where organization_id = %s"
        " order by event, state, reason, signed, id",
        harness.organization_id,
    )
    deals = await harness.count("crm.deals")
    return [*events, deals, *[await harness.count(table) for table in TABLES]]


@pytest.mark.timeout(600)
@pytest.mark.case("S1", "S2", "F32")
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    # A drawn example is short already, and each takes seconds.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(both=st.tuples(sides, sides), sent=st.lists(steps, min_size=1, max_size=STEPS_MAX))
async def test_each_fares_as_it_does_alone(
    world: World, session: aiohttp.ClientSession, both: tuple[Side, Side], sent: list[Step]
) -> None:
    first, *alone = await asyncio.gather(
        opened(world, session, 0, both[0]), opened(world, session, 0, both[0]), opened(world, session, 1, both[1])
    )
    together = (first, await opened(world, session, 1, both[1], first.account_id))
    for step in sent:
        shared = await send(together[step.side], step)
        own = await send(alone[step.side], step)
        if step.legacy and step.signed_by not in (step.side, None):
            # Signed by the other one, over the address of all: it is the other one's webhook, if anybody's.
            other = await send(alone[1 - step.side], step)
            assert shared == other
            assert own == (401, "Invalid signature")
        else:
            assert shared == own
    assert await asyncio.gather(*map(state, together)) == await asyncio.gather(*map(state, alone))
