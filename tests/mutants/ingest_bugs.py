"""Bugs on the main way: what comes in, how it is checked and stored, workers, the feed."""

from __future__ import annotations

from tests.mutants.table import Mutant

VERIFY = "services/ingest/providers/chatwoot/verify.py"
OF_THE_FEED = "tests/integration/ingest/feed/test_feed_positions.py"
OF_THE_LEGACY_PATH = "tests/integration/main_way/test_legacy_path.py"
OF_THE_WAY_IN = "tests/integration/main_way/test_accepting.py"
OF_VERIFY = "tests/unit/ingest/providers/test_chatwoot_verify.py"

OF_FAILING = "tests/integration/main_way/test_failing_again.py"
OF_SAMENESS = "tests/integration/main_way/test_sameness.py"
OF_TELLING_AGAIN = "tests/integration/main_way/test_told_after_closing.py"
TRIED_FIVE_TIMES = (
    f"{OF_FAILING}::test_an_event_is_tried_five_times_holds_back_its_own_conversation_and_is_then_a_dead_letter"
)

MUTANTS = (
    Mutant(
        "an event that fails is tried for ever",
        "chassis/queues/items.py",
        "attempts >= self.maximum",
        "attempts >= 1_000 * self.maximum",
        (TRIED_FIVE_TIMES,),
    ),
    Mutant(
        "a dead letter does not say what it failed with",
        "chassis/queues/items.py",
        "return Dead(item, error.reason, error.message)",
        'return Dead(item, "ITEM_REFUSED", error.message)',
        (TRIED_FIVE_TIMES,),
    ),
    Mutant(
        "an event that is tried again holds back nothing",
        "chassis/queues/queue.py",
        "next_attempt_time = case when give_way then null else at end",
        "next_attempt_time = null::timestamptz",
        (TRIED_FIVE_TIMES,),
    ),
    Mutant(
        "provider_connection is not blanked",
        "services/ingest/providers/blanking.py",
        '*(b"provider_config", b"provider_connection"),',
        'b"provider_config",',
        (
            "tests/unit/ingest/providers/test_blanking.py::test_the_value_of_a_secret_field_is_replaced_and_nothing_else",
        ),
    ),
    Mutant(
        "every copy of a message is a message",
        "services/conversation/messages/recording.py",
        "        if reported.network_message_id:\n",
        "        if False:\n",
        (
            (
                f"{OF_SAMENESS}::TestOneMessageToldSeveralTimes::"
                "test_five_copies_are_one_message_and_another_text_is_its_edit"
            ),
        ),
    ),
    Mutant(
        "a message is the same whenever it was written",
        "services/conversation/messages/domain/message.py",
        "        return abs(kept.told_time_us - reported.told_time_us) > SAME_TIME_US\n",
        "        return False\n",
        (f"{OF_SAMENESS}::TestAnotherThingUnderAUsedId::test_a_restored_chatwoot_overwrites_nobody_and_loses_nothing",),
    ),
    Mutant(
        "a worker does not check its fencing numbers",
        "chassis/leases.py",
        "        missing = set(fences) - {name for (name,) in held}\n",
        "        missing: set[str] = set()\n",
        (
            "tests/integration/main_way/test_fencing.py::test_a_worker_whose_lanes_another_holds_by_now_writes_no_outcome",
        ),
    ),
    Mutant(
        "the feed is in the order of event time",
        "services/ingest/feed/store.py",
        "type, payload, event_time, correlation_id, trace_parent, place)\norder by place\n",
        "type, payload, event_time, correlation_id, trace_parent, place)\norder by event_time\n",
        (f"{OF_THE_FEED}::test_facts_keep_the_order_in_which_they_were_left_whatever_their_times_say",),
    ),
    Mutant(
        "a look at the feed passes over what it did not go through",
        "services/ingest/feed/store.py",
        "        return Page(facts, facts[-1].position, more=True)\n",
        "        return Page(facts, rows[0].reached, more=True)\n",
        (f"{OF_THE_FEED}::test_a_page_that_is_full_before_the_look_is_over_leaves_the_rest_to_the_next",),
    ),
    Mutant(
        "a signature is right whatever its time",
        VERIFY,
        "if abs(now.timestamp() - int(timestamp)) > CLOCK_SKEW_MAX_SECONDS:",
        "if int(timestamp) - now.timestamp() > CLOCK_SKEW_MAX_SECONDS:",
        (f"{OF_VERIFY}::test_a_timestamp_too_far_from_our_clock_is_stale",),
    ),
    Mutant(
        "only the newest secret verifies",
        VERIFY,
        "for secret in secrets[:SECRETS_MAX]]",
        "for secret in secrets[:1]]",
        (f"{OF_VERIFY}::test_either_of_two_live_secrets_will_do",),
    ),
    Mutant(
        "a missing signature is good enough",
        VERIFY,
        "    if not signature:\n        return Verdict(Check.SIGNATURE_MISSING)",
        "    if not signature:\n        return Verdict(Check.UNSIGNED_ACCEPTED)",
        (f"{OF_VERIFY}::test_a_missing_signature_is_refused_where_a_secret_is_set",),
    ),
    Mutant(
        "a delivery key is over the first 4 KiB of the body",
        VERIFY,
        "    digest = hashlib.sha256(body).hexdigest()\n",
        "    digest = hashlib.sha256(body[:4096]).hexdigest()\n",
        (f"{OF_THE_WAY_IN}::test_one_delivery_id_with_three_bodies_is_three_events",),
    ),
    Mutant(
        "a delivery id alone is the delivery key",
        VERIFY,
        '        return f"id:{delivery_id}/{digest}"\n',
        '        return f"id:{delivery_id}"\n',
        (
            f"{OF_THE_WAY_IN}::test_one_delivery_id_with_three_bodies_is_three_events",
            f"{OF_VERIFY}::test_the_delivery_id_and_the_whole_body_are_the_delivery_key",
        ),
    ),
    Mutant(
        "a legacy webhook is the first claimant's",
        "services/ingest/providers/chatwoot/legacy_path.py",
        "    return () if proving is None else holders[proving]\n",
        "    return () if proving is None else [held for found in holders.values() for held in found][:1]\n",
        (f"{OF_THE_LEGACY_PATH}::test_an_account_that_two_organizations_share_is_split_by_secret_and_by_inbox",),
    ),
    Mutant(
        "provider_connection stays in stored bodies",
        "services/ingest/providers/blanking.py",
        '        *(b"provider_config", b"provider_connection"),\n',
        '        *(b"provider_config",),\n',
        (
            f"{OF_THE_WAY_IN}::test_secrets_reach_no_stored_body",
            "tests/unit/ingest/providers/test_blanking.py::test_the_value_of_a_secret_field_is_replaced_and_nothing_else",
        ),
    ),
    Mutant(
        "a stranger's body is read before its key is asked for",
        "gateway/routes/webhooks.py",
        "                    if named.key and not await self._keys.known(named):\n",
        "                    if not named:\n",
        ("tests/integration/gateway/test_webhook_addresses.py::test_a_stranger_is_answered_before_the_body",),
    ),
    Mutant(
        "unsigned webhooks are accepted without an end",
        VERIFY,
        "        unsigned = unsigned_end_time is not None and now < unsigned_end_time\n",
        "        unsigned = True\n",
        (f"{OF_VERIFY}::test_without_a_secret_everything_is_accepted_as_unsigned_for_a_time",),
    ),
    Mutant(
        "a secret that cannot be opened stays when another is added",
        "services/ingest/connections/servicer.py",
        "[*superseded, *broken]",
        "superseded",
        (f"{OF_THE_WAY_IN}::test_a_secret_that_cannot_be_opened_shuts_out_its_connection_and_no_other",),
    ),
    Mutant(
        "what is told again opens a deal that was closed",
        "services/ingest/processing/pipeline.py",
        "    return not item.wants_deal and item.contact.outcome != identity_pb.RESOLUTION_OUTCOME_CREATED\n",
        "    return False\n",
        (
            f"{OF_TELLING_AGAIN}::test_a_message_that_is_told_again_opens_no_deal",
            f"{OF_TELLING_AGAIN}::test_a_conversation_that_is_told_again_opens_no_deal_and_a_new_one_does",
        ),
    ),
    Mutant(
        "a word for nothing is an id of the network",
        "services/ingest/providers/chatwoot/message.py",
        "    return source_id if any(sign.isdigit() for sign in source_id) else None\n",
        "    return source_id\n",
        (f"{OF_SAMENESS}::TestOneMessageToldSeveralTimes::test_what_is_no_id_of_the_network_makes_nothing_the_same",),
    ),
)
