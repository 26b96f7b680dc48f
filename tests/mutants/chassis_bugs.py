"""Bugs in what all services share: outbox, relay, consumers, leases, upkeep, tokens."""

from __future__ import annotations

from tests.mutants.table import Mutant

RELAY = "chassis/relay.py"
CONSUMER = "chassis/consumer.py"
UPKEEP = "chassis/migrations.py"
OF_PROFILES = "tests/integration/outreach/test_profiles.py"
OF_REDIS = "tests/integration/chassis/test_redis.py"
OF_THE_RELAY = "tests/integration/chassis/test_relay.py"
OF_THE_CONSUMER = "tests/integration/chassis/test_consumer.py"
OF_INSTALLATIONS = "tests/integration/chassis/test_installation.py"
OF_COMMITS = "tests/integration/chassis/test_after_commit.py"
OF_LEASES = "tests/integration/chassis/test_leases.py"
OF_QUEUES = "tests/integration/chassis/test_queue.py"
OF_THE_ORDER_OF_QUEUES = "tests/integration/chassis/test_queue_order.py::test_a_queue_keeps_to_its_rules"
OF_TOKENS = "tests/integration/chassis/test_tokens_end.py"
OF_UPKEEP = "tests/integration/chassis/test_upkeep.py"
OF_FACTS = "tests/integration/main_way/test_facts_and_effects.py"

MUTANTS = (
    Mutant(
        "facts of messages are left outside of the transaction that records them",
        "services/conversation/messages/recording.py",
        "        await self._outbox.add(tx, fold.facts, now)\n",
        "        async with self._db.transaction(*{fact.organization_id for fact in fold.facts}) as apart:\n"
        "            await self._outbox.add(apart, fold.facts, now)\n",
        (f"{OF_FACTS}::test_every_fact_is_left_in_the_transaction_that_made_it_true",),
    ),
    Mutant(
        "the fact of an ensured deal is left after its transaction",
        "services/crm/ensure.py",
        "            await self._outbox.add(tx, facts, now)\n        return [",
        "        async with self._db.transaction(*{fact.organization_id for fact in facts}) as apart:\n"
        "            await self._outbox.add(apart, facts, now)\n        return [",
        (f"{OF_FACTS}::test_every_fact_is_left_in_the_transaction_that_made_it_true",),
    ),
    Mutant(
        "what follows from a commit also follows from a rollback",
        "chassis/db.py",
        "        self._misuse = self._misuse or _OVER\n",
        "        self._misuse = self._misuse or _OVER\n        _run_effects(self._effects)\n",
        (f"{OF_COMMITS}::test_nobody_is_told_of_what_was_taken_back",),
    ),
    Mutant(
        "an outbox wakes no relay",
        "chassis/outbox.py",
        "        tx.after_commit(self._wake)\n",
        "",
        (f"{OF_COMMITS}::test_a_call_that_left_a_fact_wakes_the_relay_and_one_that_left_none_does_not",),
    ),
    Mutant(
        "a relay sends no expected sequence",
        RELAY,
        "                EXPECTED_SEQUENCE_HEADER: str(place.last_sequence + index),\n",
        "",
        (f"{OF_THE_RELAY}::test_a_fact_that_the_stream_refuses_is_overtaken_by_none_that_came_after_it",),
    ),
    Mutant(
        "a relay ignores the stream's own epoch",
        RELAY,
        "max(known_epoch, found.epoch) + 1",
        "known_epoch + 1",
        (f"{OF_THE_RELAY}::test_an_epoch_never_comes_twice_though_the_database_was_put_back_from_before_it",),
    ),
    Mutant(
        "a relay takes a truncated stream for the one it knows",
        RELAY,
        "if place is None or info.state.last_seq < place.last_sequence:",
        "if place is None:",
        (f"{OF_THE_RELAY}::test_a_stream_that_lost_its_end_is_made_anew_with_all_that_is_kept",),
    ),
    Mutant(
        "a relay puts nothing back into the queue when the stream is made anew",
        "chassis/tables/0001_pre_create_tables.py",
        "event_time from {service}.outbox\n           on conflict",
        "event_time from {service}.outbox where false\n           on conflict",
        (f"{OF_INSTALLATIONS}::test_a_deleted_stream_is_published_again_and_the_log_says_how_much",),
    ),
    Mutant(
        "a relay touches the stream of another installation",
        RELAY,
        "        if found.installation_id is not None or not known:\n            raise StreamRefused",
        "        if False:\n            raise StreamRefused",
        (f"{OF_INSTALLATIONS}::test_a_relay_lets_another_installation_s_stream_alone_until_it_is_gone",),
    ),
    Mutant(
        "a relay holds its rows while NATS stores",
        RELAY,
        "        reached = replace(place, last_sequence=await self._send(js, rows, place))\n",
        "            reached = replace(place, last_sequence=await self._send(js, rows, place))\n",
        (f"{OF_INSTALLATIONS}::test_nothing_is_held_while_nats_stores",),
    ),
    Mutant(
        "a consumer handles a fact that it has handled before",
        CONSUMER,
        "message for message in messages if message.event_id in fresh and first_seen[message.event_id] is message",
        "message for message in messages if first_seen or fresh",
        (f"{OF_THE_RELAY}::test_an_epoch_never_comes_twice_though_the_database_was_put_back_from_before_it",),
    ),
    Mutant(
        "a fact that cannot be handled holds up all after it for ever",
        CONSUMER,
        "            except Aborted as error:\n                failed: Exception = error\n",
        "            except Aborted as error:\n                raise\n                failed: Exception = error\n",
        (f"{OF_THE_CONSUMER}::test_a_fact_whose_handler_is_always_in_somebodys_way_is_set_aside",),
    ),
    Mutant(
        "a Redis that hangs costs every call its time",
        "chassis/redis.py",
        "            self._away_until = self._monotonic() + AWAY_SECONDS\n",
        "            self._away_until = self._monotonic()\n",
        (f"{OF_REDIS}::test_a_redis_that_hangs_costs_one_call_its_time_and_gives_nobody_another_s_answer",),
    ),
    Mutant(
        "what must not be done without Redis is done",
        "chassis/redis.py",
        '            raise Unavailable("REDIS_UNAVAILABLE", "Redis does not answer. Try again soon.") from error\n',
        "            return None  # type: ignore[return-value]\n",
        (f"{OF_REDIS}::test_what_limits_goes_on_without_redis_and_what_must_not_be_done_is_refused",),
    ),
    Mutant(
        "a merge that was taken back holds again when its event comes once more",
        "chassis/redirects.py",
        "              where kept.version < excluded.version\n",
        "",
        ("tests/integration/chassis/test_redirects.py::test_a_merge_is_read_through_and_taken_back",),
    ),
    Mutant(
        "an organization's home of before is kept over the one of now",
        "chassis/profiles.py",
        "              where kept.version < excluded.version\n",
        "",
        (f"{OF_PROFILES}::test_an_event_that_comes_while_identity_is_asked_is_not_overwritten",),
    ),
    Mutant(
        "a simulation goes on while who it woke is still at work",
        "chassis/clock.py",
        "            self._busy.add(sleeper.task)\n",
        "            pass\n",
        (
            "tests/unit/chassis/test_clock.py::test_a_month_passes_at_once_and_everybody_wakes_at_their_own_times_in_order",
            "tests/unit/chassis/test_clock.py::test_a_simulation_that_does_not_come_to_rest_says_who_is_busy",
        ),
    ),
    Mutant(
        "a consumer hands events over by class instead of in the order of the stream",
        "chassis/subscriptions.py",
        "in groupby(messages, lambda",
        "in groupby(sorted(messages, key=lambda message: message.type), lambda",
        (
            f"{OF_THE_CONSUMER}::test_handlers_are_registered_by_class_and_get_decoded_events_in_the_order_of_the_stream",
        ),
    ),
    Mutant(
        "a lease does not say who lost it",
        "chassis/leases.py",
        "on lease.name = held.name and lease.fence = held.fence\n            where lease.holder = %(lease_holder)s\n"
        "            for key share",
        "on lease.name = held.name\n            for key share",
        (f"{OF_LEASES}::test_a_holder_that_lost_its_lease_writes_nothing",),
    ),
    Mutant(
        "a lease can be taken before it expires",
        "chassis/leases.py",
        "(expire_time < clock_timestamp() or",
        "(expire_time < clock_timestamp() + interval '1 minute' or",
        (f"{OF_LEASES}::test_a_lease_is_one_holders_until_it_expires",),
    ),
    Mutant(
        "a down-migration leaves a condition behind",
        "services/identity/migrations/0005_pre_forget_failed_sign_ins.py",
        "set keep_days = 1, condition = 'true' where",
        "set keep_days = 1 where",
        ("tests/migration/test_steps.py::test_a_step_down_leaves_exactly_what_stood_before_the_step_up[identity-own]",),
    ),
    Mutant(
        "the index of failed facts stays when it is taken back",
        "chassis/tables/0002_pre_index_failed_facts.py",
        '    """Takes it away."""\n    with op.get_context().autocommit_block():\n        run(drop)\n',
        '    """Takes it away."""\n',
        ("tests/migration/test_steps.py::test_a_step_down_leaves_exactly_what_stood_before_the_step_up",),
    ),
    Mutant(
        "the chassis' tables of the release before are taken for newer ones than they are",
        "chassis/lines.py",
        "if step <= version]",
        "]",
        (
            "tests/migration/test_migrations.py::test_a_database_of_the_release_before_is_found_on_both_lines_and_goes_down_to_what_it_knows",
        ),
    ),
    Mutant(
        "row-level security does not bind the table's owner",
        UPKEEP,
        '        f"alter table {name} force row level security",\n',
        "",
        (
            "tests/integration/identity/test_isolation.py::test_every_table_of_an_organization_forces_row_level_security",
        ),
    ),
    Mutant(
        "a policy lets rows of others be written",
        UPKEEP,
        "using ({MEMBERSHIP}) with check ({MEMBERSHIP})",
        "using ({MEMBERSHIP}) with check (true)",
        ("tests/integration/identity/test_isolation.py::test_a_row_of_another_organization_cannot_be_written",),
    ),
    Mutant(
        "an idempotent call keeps no answer",
        "chassis/idempotency.py",
        "                await self.keep(tx, organization_id, request, answer)\n        return answer\n",
        "        return answer\n",
        ("tests/integration/chassis/test_idempotent_calls.py::test_the_work_is_done_once_and_what_fails_is_not_kept",),
    ),
    Mutant(
        "a request_id answers whatever body comes under it",
        "chassis/idempotency.py",
        "row.method != method or bytes(row.body_hash) != _body_hash(request)",
        "row.method != method",
        (
            "tests/integration/crm/test_boards.py::test_a_retry_gets_the_first_answer_and_another_body_an_error",
            "tests/integration/outreach/test_suppressions.py::test_a_retry_gets_the_first_answer_and_another_body_an_error",
        ),
    ),
    Mutant(
        "a key is believed though it was revoked while its token was signed",
        "chassis/auth.py",
        '(current.kind == "key" or current.issue_time <= moment)',
        "(current.issue_time <= moment)",
        (
            "tests/unit/chassis/test_revocations.py::test_a_revoked_key_is_refused_also_with_a_token_that_was_being_signed",
        ),
    ),
    Mutant(
        "revocations are forgotten before the tokens they are about",
        "chassis/auth.py",
        "horizon = self._clock.now().timestamp() - PERSON_TOKEN_SECONDS - 60",
        "horizon = self._clock.now().timestamp() - PERSON_TOKEN_SECONDS + 60",
        (
            "tests/unit/chassis/test_revocations.py::test_a_revocation_is_remembered_for_as_long_as_a_token_from_before_it_is_believed",
        ),
    ),
    Mutant(
        "the expiry of a token that was verified before is not looked at",
        "chassis/auth.py",
        "        known = self._kept.get(token)\n        if known is None:\n",
        "        known = self._kept.get(token)\n        if known is not None:\n            return known\n"
        "        if known is None:\n",
        (f"{OF_TOKENS}::test_a_token_that_was_believed_before_is_refused_once_it_has_ended",),
    ),
    Mutant(
        "a quiet stream outlives its token",
        "chassis/interceptors.py",
        "limit = asyncio.timeout(self._verifier.seconds_left(caller))",
        "limit = asyncio.timeout(None)",
        (f"{OF_TOKENS}::test_a_quiet_stream_ends_with_its_token",),
    ),
    Mutant(
        "a busy stream outlives its token where the clock was set",
        "chassis/interceptors.py",
        "                # The clock may have been set since.\n                self._verifier.seconds_left(caller)\n",
        "",
        (f"{OF_TOKENS}::test_a_busy_stream_ends_with_its_token_though_the_clock_was_set",),
    ),
    Mutant(
        "partitions are dropped one unit early",
        "chassis/upkeep_functions.py",
        "<= least(as_of - entry.keep * step,",
        "<= least(as_of - (entry.keep - 1) * step,",
        (
            f"{OF_UPKEEP}::test_a_day_is_dropped_when_its_last_row_is_old_enough_and_not_before",
            f"{OF_UPKEEP}::test_a_month_is_dropped_when_its_last_row_is_old_enough_and_not_before",
        ),
    ),
    Mutant(
        "upkeep believes a time far from the newest row's",
        "chassis/upkeep_functions.py",
        "      if as_of > newest + interval",
        "      if false and as_of > newest + interval",
        (f"{OF_UPKEEP}::test_a_time_far_from_the_newest_row_drops_nothing",),
    ),
    Mutant(
        "an alarm for one who has gone ends all who wait",
        "chassis/batcher.py",
        "((done := self._due[0][1]).done() or self._due[0][0] <= loop.time())",
        "(done := self._due[0][1]) is not None",
        ("tests/unit/chassis/test_batcher.py::test_the_time_of_each_begins_when_it_comes",),
    ),
    Mutant(
        "a stop while it starts leaves its jobs with their leases",
        "cli/serve.py",
        "            await host.stop()\n            return\n",
        "            return\n",
        ("tests/integration/cli/test_serving.py::test_sigterm_while_it_starts_ends_what_has_begun",),
    ),
    Mutant(
        "the address that is connected is not judged",
        "chassis/outgoing.py",
        "        if not self._judge(str(place[0])) or (family == socket.AF_INET6 and place[3]):\n",
        "        if False:\n",
        ("tests/integration/chassis/test_outgoing.py::test_the_address_that_connects_is_judged_itself",),
    ),
    Mutant(
        "what comes after an item that is postponed passes it",
        "chassis/queues/tables.py",
        'earlier = "held.sequence <= queued.sequence"',
        'earlier = "held.sequence = queued.sequence"',
        (OF_THE_ORDER_OF_QUEUES,),
    ),
    Mutant(
        "a timed queue works on what is not due",
        "chassis/queues/tables.py",
        "and queued.due_time <= as_of",
        "and queued.put_time <= as_of",
        (OF_THE_ORDER_OF_QUEUES,),
    ),
    Mutant(
        "a queue is settled whoever holds its lanes",
        "chassis/queues/worker.py",
        "self._leases, fences, self._clock.now())\n        self._count",
        "self._leases, {}, self._clock.now())\n        self._count",
        (
            f"{OF_QUEUES}::TestDying::test_what_a_worker_that_hangs_had_claimed_is_done_by_the_next_and_the_first_writes_nothing",
        ),
    ),
    Mutant(
        "two slots work on one key at once",
        "chassis/queues/worker.py",
        "                self._busy_keys |= {item.key for item in items}\n",
        "",
        (
            f"{OF_QUEUES}::TestSlots::test_a_handler_that_waits_works_on_as_many_keys_at_once_as_it_has_slots_and_on_each_in_order",
        ),
    ),
    Mutant(
        "a fact is set aside where our own token was refused",
        "chassis/consumer.py",
        "SAYS_NOTHING = (Unavailable, LeaseLost, Unauthenticated, PermissionDenied)\n",
        "SAYS_NOTHING = (Unavailable, LeaseLost)\n",
        (f"{OF_THE_CONSUMER}::test_a_fact_whose_handler_is_refused_by_another_service_is_read_again_until_it_is_not",),
    ),
    Mutant(
        "a slow server of one organization holds every slot",
        "chassis/queues/worker.py",
        "        if not self._queue.shared:\n            return []\n",
        "        if True:\n            return []\n",
        (
            "tests/integration/chassis/test_queue_slots.py::test_a_slow_server_of_one_organization_leaves_slots_to_the_others",
        ),
    ),
)
