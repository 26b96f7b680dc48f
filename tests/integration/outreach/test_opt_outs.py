"""What contacts ask for in their own words, whatever else is asked for of their address, and whenever it is heard."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from prosa.outreach.v1 import outreach_service_pb2 as pb
from prosa.outreach.v1.events_pb2 import SendDue, SuppressionLifted
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


async def test_words_stand_beside_each_other_and_the_release_before_writes_on(writing: Writing) -> None:
    staff = await writing.suppress(PHONE)
    await writing.heard(writing.said("SAIR", PHONE, None, HOUR))
    await writing.heard(writing.said("PARAR", PHONE, None, MINUTE))
    assert {(one.origin, one.reason) for one in await writing.held()} == {
        (pb.SUPPRESSION_ORIGIN_STAFF, "Pediu"),
        (pb.SUPPRESSION_ORIGIN_CONTACT, "SAIR"),
    }
    assert (await writing.suppress(PHONE)).suppression_id == staff.suppression_id
    # As it is written there.
    for phone, written in ((PHONE, 0), (OTHER_PHONE, 1)):
        made = await writing.world.rows(
            "insert into outreach.suppressions (organization_id, id, source, external_id, reason, create_time, origin)"
            " values (%s, %s, 'WHATSAPP', %s, 'SAIR', now(), 'CONTACT')"
            " on conflict (organization_id, source, external_id) do nothing returning id",
            *(writing.organization_id, uuid4(), phone),
        )
        assert len(made) == written
    assert len(await writing.held()) == 3
    await writing.lift(staff)
    assert [one.origin for one in await writing.held()] == [pb.SUPPRESSION_ORIGIN_CONTACT] * 2
    # Beside nobody any more, it is still the only one of its origin.
    await writing.heard(writing.said("SAIR", PHONE, None, MINUTE))
    assert len(await writing.held()) == 2
    for phone in (PHONE, OTHER_PHONE):
        await writing.heard(writing.said("VOLTAR", phone, None, timedelta()))
    assert not await writing.held()


async def test_who_was_merged_ends_nothing_that_the_other_asked_for_before(writing: Writing) -> None:
    survivor, loser = uuid4(), uuid4()
    await writing.heard(writing.said("SAIR", PHONE, survivor, HOUR))
    await writing.world.rows(
        "update outreach.suppressions set create_time = ask_time where organization_id = %s returning 1",
        writing.organization_id,
    )
    await writing.moved(survivor, loser, OTHER_PHONE)
    # In a conversation that began after the merge, the message names the survivor.
    await writing.heard(writing.said("VOLTAR", OTHER_PHONE, survivor, timedelta()))
    (held,) = await writing.held()
    # Asked for again it was asked for before all the same.
    await writing.heard(writing.said("SAIR", PHONE, survivor, timedelta()))
    await writing.heard(writing.said("VOLTAR", OTHER_PHONE, survivor, timedelta()))
    assert [one.suppression_id for one in await writing.held()] == [held.suppression_id]
    await writing.heard(writing.said("VOLTAR", PHONE, survivor, timedelta()))
    assert not await writing.held()
    # As one, each speaks for both.
    await writing.heard(writing.said("SAIR", PHONE, survivor, timedelta()))
    await writing.heard(writing.said("VOLTAR", OTHER_PHONE, survivor, timedelta()))
    assert not await writing.held()


async def test_what_was_said_as_one_and_is_heard_after_that_was_undone_is_of_whom_the_address_is(
    writing: Writing,
) -> None:
    survivor, loser = uuid4(), uuid4()
    merge = await writing.moved(survivor, loser, OTHER_PHONE)
    await writing.heard(writing.said("SAIR", PHONE, survivor, timedelta()))
    late = [writing.said(words, OTHER_PHONE, survivor, timedelta()) for words in ("VOLTAR", "SAIR")]
    await writing.undone(merge)
    for one in late:
        await writing.heard(one)
    assert {(one.external_id, one.contact_id) for one in await writing.held()} == {
        (PHONE, str(survivor)),
        (OTHER_PHONE, str(loser)),
    }


async def test_what_holds_again_with_a_merge_undone_stands_beside_what_the_staff_decided(writing: Writing) -> None:
    survivor, loser = uuid4(), uuid4()
    merge = await writing.moved(survivor, loser, OTHER_PHONE)
    await writing.heard(writing.said("SAIR", OTHER_PHONE, survivor, timedelta()))
    await writing.heard(writing.said("VOLTAR", PHONE, survivor, timedelta()))
    assert not await writing.held()
    await writing.suppress(OTHER_PHONE)
    await writing.undone(merge)
    assert {(one.origin, one.contact_id) for one in await writing.held()} == {
        (pb.SUPPRESSION_ORIGIN_STAFF, ""),
        (pb.SUPPRESSION_ORIGIN_CONTACT, str(loser)),
    }


async def test_two_wishes_of_one_moment_are_one_suppression_and_one_confirmation(writing: Writing) -> None:
    staff = await writing.suppress("+5511900000031")
    async with writing.db.transaction(writing.organization_id) as tx:
        await writing.opt_outs.on_message_received(tx, [writing.said("SAIR", "+5511900000031")])
        # Without the staff's the address itself is free again, beside which the first wish is being written.
        await writing.lift(staff)
        second = asyncio.ensure_future(writing.heard(writing.said("SAIR", "+5511900000031")))
        await writing.world.until_waiting_on_locks(1)
    await second
    assert [kept.origin for kept in await writing.held()] == [pb.SUPPRESSION_ORIGIN_CONTACT]
    assert len(await writing.world.announced(SendDue, writing.organization_id)) == 1


async def test_what_ends_in_the_moment_in_which_it_is_wanted_again_is_made_anew(writing: Writing) -> None:
    first = await writing.suppress("+5511900000032")
    async with await writing.world.admin() as ending, ending.transaction():
        await ending.execute("delete from outreach.suppressions where id = %s", [first.suppression_id])
        again = asyncio.ensure_future(writing.suppress("+5511900000032"))
        await writing.world.until_waiting_on_locks(1)
    assert (await again).suppression_id != first.suppression_id
    assert list(await writing.held()) == [await again]
