"""Whether webhooks can be stored is part of being ready, whatever a ping of the database says."""

from __future__ import annotations

import pytest

from gateway.acceptance import Acceptance
from gateway.limits import NOT_STORED_CALLS, NOT_STORED_SECONDS
from tests.harness import Harness, sample

FULL = b"""
create function ingest.pretend_full() returns trigger language plpgsql as $$
begin raise exception using errcode = '53100', message = 'could not extend file: No space left on device'; end $$;
create trigger pretend_full before insert on ingest.webhook_events for each row execute function ingest.pretend_full();
"""


@pytest.mark.case("S13")
async def test_a_full_disk_is_seen_in_readyz_until_a_webhook_is_stored_again(harness: Harness) -> None:
    async with await harness.world.admin() as connection:
        await connection.execute(FULL)
        try:
            for _ in range(NOT_STORED_CALLS):
                status, _answer = await harness.post(sample("message_created.whatsapp_cloud.incoming"))
                assert status == 503
            async with harness.session.get(f"{harness.url}/readyz") as ready:
                answer = await ready.json()
                assert ready.status == 503
            assert {name for name, state in answer["dependencies"].items() if state != "ok"} == {"webhooks"}
            assert "full disk" in answer["dependencies"]["webhooks"]
        finally:
            await connection.execute(
                b"drop trigger pretend_full on ingest.webhook_events; drop function ingest.pretend_full()"
            )
    await harness.deliver(sample("message_created.whatsapp_cloud.incoming"))
    async with harness.session.get(f"{harness.url}/readyz") as ready:
        assert ready.status == 200, await ready.text()


@pytest.mark.case("S13")
async def test_a_failure_of_long_ago_keeps_nobody_away_so_that_one_webhook_may_try() -> None:
    now = 0.0
    acceptance = Acceptance(lambda: now)
    for _ in range(NOT_STORED_CALLS):
        await acceptance.check()
        acceptance.not_stored()
    with pytest.raises(Exception, match="could not be stored"):
        await acceptance.check()
    now = NOT_STORED_SECONDS
    await acceptance.check()


@pytest.mark.case("S13")
async def test_single_calls_that_fail_keep_nobody_away() -> None:
    """One may fail by what it brought, or with a connection that broke: another that succeeds says so."""
    now = 0.0
    acceptance = Acceptance(lambda: now)
    for _ in range(NOT_STORED_CALLS):
        for _ in range(NOT_STORED_CALLS - 1):
            acceptance.not_stored()
            await acceptance.check()
        acceptance.stored()
    for _ in range(NOT_STORED_CALLS + 1):
        acceptance.not_stored()
        await acceptance.check()
        now += NOT_STORED_SECONDS
