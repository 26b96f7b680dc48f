"""Bugs on the main way: what comes in, how it is checked and stored, workers, the feed."""

from __future__ import annotations

from tests.mutants.table import Mutant

VERIFY = "services/ingest/providers/chatwoot/verify.py"
OF_THE_FEED = "tests/integration/ingest/test_feed_positions.py"
OF_VERIFY = "tests/unit/ingest/test_chatwoot_verify.py"

MUTANTS = (
    Mutant(
        "a worker does not check its fencing numbers",
        "services/ingest/worker.py",
        "            await self._leases.check(tx, fences)\n",
        "",
        (
            "tests/integration/main_way/test_fencing.py::test_a_worker_whose_lanes_another_holds_by_now_writes_no_outcome",
        ),
    ),
    Mutant(
        "the feed is in the order of event time",
        "services/ingest/feed.py",
        "type, payload, event_time, correlation_id, trace_parent, place)\norder by place\n",
        "type, payload, event_time, correlation_id, trace_parent, place)\norder by event_time\n",
        (f"{OF_THE_FEED}::test_facts_keep_the_order_in_which_they_were_left_whatever_their_times_say",),
    ),
    Mutant(
        "a look at the feed passes over what it did not go through",
        "services/ingest/feed.py",
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
)
