"""What contacts ask for in their own words, whatever else is asked for of their address, and whenever it is heard."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from prosa.outreach.v1.events_pb2 import SuppressionLifted
from tests.integration.identity.cast import given_organization
from tests.integration.outreach.writing import Writing
from tests.world import World

TARGETS = ("identity", "outreach")
PHONE, OTHER_PHONE = "+5511900004821", "+5511900004822"
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@pytest.fixture
async def writing(world: World) -> Writing:
    """An organization that no other test knows."""
    return Writing(world, await given_organization(world))


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "apart"])
async def test_an_old_voltar_that_is_told_late_lifts_nothing_newer(writing: Writing, together: bool) -> None:
    contact_id = uuid4()
    leave, old = writing.said("SAIR", PHONE, contact_id, MINUTE), writing.said("VOLTAR", PHONE, contact_id, HOUR)
    for batch in [(leave, old)] if together else [(leave,), (old,)]:
        await writing.heard(*batch)
    (held,) = await writing.held()
    assert held.external_id == PHONE
    # From another of their addresses, it is as old.
    await writing.heard(writing.said("VOLTAR", OTHER_PHONE, contact_id, HOUR))
    assert list(await writing.held()) == [held]
    assert await writing.world.announced(SuppressionLifted, writing.organization_id) == []
    await writing.heard(writing.said("VOLTAR", PHONE, contact_id, timedelta()))
    assert not await writing.held()


async def test_what_is_asked_again_is_as_new_as_the_last_time(writing: Writing) -> None:
    contact_id = uuid4()
    await writing.heard(writing.said("SAIR", PHONE, contact_id, HOUR * 3))
    await writing.heard(writing.said("SAIR", PHONE, contact_id, HOUR))
    # An even older one, told last, makes it no older.
    await writing.heard(writing.said("PARAR", PHONE, contact_id, HOUR * 4))
    await writing.heard(writing.said("VOLTAR", PHONE, contact_id, HOUR * 2))
    assert len(await writing.held()) == 1
    # Providers tell whole seconds: of the same one, what comes later is later.
    await writing.heard(writing.said("VOLTAR", PHONE, contact_id, HOUR - timedelta(seconds=1)))
    assert not await writing.held()


async def test_a_clock_that_is_ahead_keeps_nobody_from_coming_back(writing: Writing) -> None:
    await writing.heard(writing.said("SAIR", PHONE, None, -HOUR))
    await writing.heard(writing.said("VOLTAR", PHONE, None, timedelta()))
    assert not await writing.held()


async def test_of_what_was_kept_before_times_were_the_time_of_keeping_counts(writing: Writing) -> None:
    await writing.heard(writing.said("SAIR", PHONE, None, MINUTE))
    await writing.world.rows(
        "update outreach.suppressions set ask_time = null where organization_id = %s returning 1",
        writing.organization_id,
    )
    # Asked again in an older message, it is no older either.
    for late in (writing.said("VOLTAR", PHONE, None, HOUR), writing.said("SAIR", PHONE, None, HOUR * 2)):
        await writing.heard(late, writing.said("VOLTAR", PHONE, None, HOUR))
        assert len(await writing.held()) == 1
    await writing.heard(writing.said("VOLTAR", PHONE, None, timedelta()))
    assert not await writing.held()
