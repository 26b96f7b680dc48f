"""Bugs about what is sent, to whom and how often: the gate, deliveries, outbound webhooks, replies, rounds, alerts."""

from __future__ import annotations

from tests.mutants.table import Mutant

RULES = "services/outreach/sending/rules.py"
OF_RULES = "tests/unit/outreach/test_rules.py"
DELIVERER = "services/conversation/deliveries/worker.py"
OF_REPLIES = "tests/integration/main_way/test_replies.py"
ANSWERING = "services/conversation/turns/answering.py"
OF_ANSWERS = "tests/integration/main_way/test_automatic_replies.py"
OF_OPT_OUTS = "tests/integration/main_way/test_opt_outs.py"
WEEK = "services/conversation/scripts/week.py"
OF_WEEK = "tests/unit/conversation/scripts/test_week.py"

MUTANTS = (
    Mutant(
        "the kill switch stops only what is said by itself",
        RULES,
        "    if standing.killed:\n",
        "    if standing.killed and message.send_class is not SendClass.PERSON:\n",
        (f"{OF_RULES}::test_a_rule_binds_its_classes_and_no_other",),
    ),
    Mutant(
        "whoever wrote once is written to for good",
        RULES,
        "        if not (answers and wrote is not None and wrote > suppression.create_time):\n",
        "        if not (answers and wrote is not None):\n",
        (f"{OF_RULES}::test_a_suppression_binds_answers_until_the_contact_writes_again_and_the_rest_for_good",),
    ),
    Mutant(
        "one suppression that ended lifts the others",
        RULES,
        "            return Reason.SUPPRESSED\n    return None\n\n\ndef _unconfirmable",
        "            return Reason.SUPPRESSED\n        break\n    return None\n\n\ndef _unconfirmable",
        (f"{OF_RULES}::test_one_suppression_that_still_holds_is_enough",),
    ),
    Mutant(
        "an opt-out is confirmed by every delivery",
        RULES,
        "    if own is None or own.confirm_delivery_id not in (None, message.delivery_id):\n",
        "    if own is None:\n",
        (f"{OF_RULES}::test_one_message_confirms_one_opt_out",),
    ),
    Mutant(
        "terms bind nobody",
        RULES,
        "    if (message.send_class is SendClass.MARKETING or message.internal) and not standing.terms_accepted:\n",
        "    if message.internal and not standing.terms_accepted:\n",
        ("tests/integration/outreach/test_gate.py::test_nothing_to_many_before_an_owner_accepts_the_terms",),
    ),
    Mutant(
        "quiet hours leave everybody alone who ever wrote",
        RULES,
        "    if grace_end is not None and moment < grace_end:\n",
        "    if grace_end is not None:\n",
        (f"{OF_RULES}::test_a_rule_binds_its_classes_and_no_other",),
    ),
    Mutant(
        "a message found SENDING is sent again",
        DELIVERER,
        "            case MessageState.QUEUED:\n                return await self._send(item, known, fence)\n"
        "            case MessageState.SENDING:\n",
        "            case MessageState.QUEUED | MessageState.SENDING:\n"
        "                known.delivery.state = MessageState.QUEUED\n"
        "                return await self._send(item, known, fence)\n"
        "            case MessageState.READ:\n",
        (f"{OF_REPLIES}::test_what_was_being_sent_when_its_worker_died_is_uncertain_and_is_not_sent_again",),
    ),
    Mutant(
        "what is uncertain is sent again",
        DELIVERER,
        "            case MessageState.UNCERTAIN:\n                return await self._look(item, known.delivery)\n",
        "            case MessageState.UNCERTAIN:\n"
        "                known.delivery.state = MessageState.QUEUED\n"
        "                return await self._send(item, known, fence)\n",
        (f"{OF_REPLIES}::test_what_is_uncertain_is_found_at_the_provider_and_never_sent_again",),
    ),
    Mutant(
        "a reply leaves though automation was switched off",
        DELIVERER,
        "            forbidden = forbids(known) or await _switched_off(tx, known.delivery)\n",
        "            forbidden = forbids(known)\n",
        (f"{OF_ANSWERS}::test_a_reply_that_waits_is_taken_back_where_automation_is_switched_off",),
    ),
    Mutant(
        "a person who answered is talked over",
        ANSWERING,
        "            elif newest.answered:\n",
        "            elif False:\n",
        (f"{OF_ANSWERS}::test_who_answers_in_chatwoot_meanwhile_is_not_talked_over",),
    ),
    Mutant(
        "a model that was overtaken is heard",
        ANSWERING,
        "            if newest is None or newest[0] not in turn.message_ids:\n",
        "            if newest is None:\n",
        (f"{OF_ANSWERS}::test_a_slow_model_is_overtaken_by_the_customer",),
    ),
    Mutant(
        "two that answer by themselves go on for ever",
        ANSWERING,
        "            if not reason and await store.has_replies(tx, turn, now - REPLIES_PERIOD, REPLIES_MAX):\n",
        "            if False:\n",
        (f"{OF_ANSWERS}::test_two_that_answer_by_themselves_do_not_go_on_for_ever",),
    ),
    Mutant(
        "a model is asked though its day is spent",
        ANSWERING,
        "        if question.tokens_used >= settings.model_day_token_limit or settings.model_key_sealed is None:\n",
        "        if settings.model_key_sealed is None:\n",
        (f"{OF_ANSWERS}::test_a_wrong_key_and_a_spent_day_bring_the_fallback",),
    ),
    Mutant(
        "an opt-out is confirmed each time it is said",
        "services/outreach/opt_outs/consumer.py",
        "            await store.ask_again(tx, suppression)\n            return\n",
        "            await store.ask_again(tx, suppression)\n",
        (f"{OF_OPT_OUTS}::test_who_writes_sair_is_suppressed_with_their_words_and_confirmed_once",),
    ),
    Mutant(
        "what our own people write is an opt-out",
        "services/outreach/opt_outs/consumer.py",
        "    if message.direction != conversation_pb.MESSAGE_DIRECTION_INBOUND:\n        return None\n"
        "    if message.author != conversation_pb.MESSAGE_AUTHOR_CONTACT:\n        return None\n",
        "",
        (f"{OF_OPT_OUTS}::test_who_writes_about_leaving_is_not_suppressed",),
    ),
    Mutant(
        "a touch that waits goes to who asked for no more",
        "services/outreach/campaigns/following.py",
        '                touch.state, touch.reason = TouchState.SUPPRESSED, "SUPPRESSED"\n',
        '                touch.reason = "SUPPRESSED"\n',
        (
            "tests/integration/outreach/test_campaigns_in_order.py::test_campaigns_of_all_who_left_are_taken_in_order",
            "tests/integration/main_way/test_campaigns.py::test_two_are_written_to_one_goes_on_and_one_gets_a_confirmation_and_nothing_more",
        ),
    ),
    Mutant(
        "rounds are due at the hour of another zone",
        WEEK,
        "    local = datetime.combine(day, time(minute // 60, minute % 60), tzinfo=zone)\n",
        "    local = datetime.combine(day, time(minute // 60, minute % 60), tzinfo=UTC)\n",
        (f"{OF_WEEK}::test_a_minute_that_the_clocks_leave_out_is_the_first_one_after",),
    ),
    Mutant(
        "a window that ends after midnight has no end",
        WEEK,
        "    last_day = day if window.end_minute > window.start_minute else day + timedelta(days=1)\n",
        "    last_day = day\n",
        (f"{OF_WEEK}::test_rounds_of_a_window_keep_their_distance",),
    ),
    Mutant(
        "windows overlap over the week's end",
        WEEK,
        "[*ordered[1:], *ordered[:1]]",
        "[*ordered[1:], ordered[-1]]",
        (f"{OF_WEEK}::test_a_week_that_cannot_be_is_refused",),
    ),
    Mutant(
        "an outbound webhook is signed by the oldest secret alone",
        "services/ingest/outbound/poster.py",
        '            "webhook-signature": rules.signature(run.secrets, event_id, timestamp, body),\n',
        '            "webhook-signature": rules.signature(run.secrets[:1], event_id, 0, body),\n',
        (
            "tests/integration/main_way/test_told_endpoints.py::test_what_a_customer_writes_is_posted_signed_and_taken_once_after_a_failure",
        ),
    ),
    Mutant(
        "one failure in forty is an alert",
        "services/ingest/health/rules.py",
        "            and self.failure_count >= thresholds.WEBHOOK_FAILURES_FAILURES_MIN\n",
        "",
        ("tests/integration/ingest/health/test_alerts.py::test_one_failure_in_forty_tells_nobody",),
    ),
    Mutant(
        "an alert is never resolved",
        "services/ingest/health/rules.py",
        "    alert.state, alert.resolve_time, alert.version = AlertState.RESOLVED, now, alert.version + 1\n",
        "    alert.resolve_time, alert.version = now, alert.version + 1\n",
        (
            "tests/integration/ingest/health/test_alerts.py::test_it_opens_once_is_listed_and_is_resolved_when_the_window_is_clean",
        ),
    ),
    Mutant(
        "a state that is not known lists everything",
        "chassis/enums.py",
        "    if number not in names:\n        *others, last",
        "    if number not in names:\n        return None\n        *others, last",
        ("tests/integration/test_unknown_states.py::test_an_unknown_state_is_refused",),
    ),
    Mutant(
        "automation stays on where going live was not written down",
        "services/ingest/rollout/changing.py",
        "            await self._give_up(before, activating, request.reason, was_on=was_on)\n            raise\n",
        "            raise\n",
        ("tests/integration/cli/test_going_live.py::test_what_could_not_be_written_down_is_undone",),
    ),
)
