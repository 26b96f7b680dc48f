"""Bugs at the public port: what strangers may hold, and what is decided before a body is read."""

from __future__ import annotations

from tests.mutants.table import Mutant

LEGACY_PATH = "services/ingest/providers/chatwoot/legacy_path.py"
BEFORE_THE_BODY = "tests/integration/main_way/test_before_the_body.py"
OF_BODIES = "tests/integration/gateway/test_bodies.py"
OF_CHECKS = "tests/integration/ingest/connections/test_check_connection.py"
OF_EXPECTATIONS = "tests/integration/gateway/test_expectations.py"
OF_LEGACY_STRANGERS = "tests/integration/main_way/test_legacy_strangers.py"
OF_STRANGERS = "tests/integration/gateway/test_strangers.py"

MUTANTS = (
    Mutant(
        "a stranger's damaged body is mended on the event loop",
        LEGACY_PATH,
        "read_json(body, mended_bytes_max=0)",
        "read_json(body)",
        (f"{OF_LEGACY_STRANGERS}::test_beyond_a_small_bound_nothing_of_a_strangers_is_read_on_the_event_loop",),
    ),
    Mutant(
        "whatever a stranger calls an event is written as a text",
        LEGACY_PATH,
        'isinstance(event, str) and event.startswith("contact_")',
        'str(event or "").startswith("contact_")',
        (f"{OF_LEGACY_STRANGERS}::test_what_nests_as_deep_as_it_can_be_read_refuses_itself_and_no_other",),
    ),
    Mutant(
        "strangers' webhooks run among those that name a connection",
        "gateway/routes/webhooks.py",
        "            result = await (self._legacy if usual else self._legacy_large).submit(webhook)\n",
        "            result = await (self._batcher if usual else self._large).submit(webhook)\n",
        (f"{OF_STRANGERS}::test_webhooks_that_name_no_connection_keep_none_waiting_that_name_one",),
    ),
    Mutant(
        "a genuine legacy webhook uses up what strangers may send",
        "gateway/routes/webhooks.py",
        "                self._unproven.charge(client_network.get(), -len(body))\n",
        "                pass\n",
        (f"{OF_STRANGERS}::test_of_what_proves_nothing_only_so_much_is_read_and_what_is_proved_is_given_back",),
    ),
    Mutant(
        "strangers' bodies take what is there for callers",
        "gateway/bodies.py",
        "            self._bytes_of_nobody += size\n            return\n",
        "            self._bytes_of_nobody += size\n",
        (f"{OF_BODIES}::test_strangers_bodies_take_nothing_of_what_is_there_for_callers",),
    ),
    Mutant(
        "a key's scope is not looked at before its body",
        "gateway/authorizer.py",
        "        if permission is not None:\n            self._verifier.check_permission(permission, caller)\n",
        "",
        (f"{BEFORE_THE_BODY}::test_of_a_key_that_may_not_call_nothing_of_the_body_is_read",),
    ),
    Mutant(
        "guessed keys push out those that are known",
        "services/ingest/connections/cache.py",
        "            self._keep_last(self._unknown, key, until)\n",
        "            self._by_id.clear()\n            self._by_key.clear()\n",
        (f"{BEFORE_THE_BODY}::test_whoever_guesses_keys_pushes_out_none_that_is_known",),
    ),
    Mutant(
        "each byte of dripping headers moves their deadline",
        "gateway/listening/connections.py",
        "        if connection.stage is not Stage.WAITING:\n            # Its next",
        "        if True:\n            # Its next",
        (f"{OF_STRANGERS}::test_headers_that_drip_have_a_deadline_which_each_byte_does_not_move",),
    ),
    Mutant(
        "everybody is told to send the body who expects it",
        "gateway/expectations.py",
        "            match.route._expect_handler = _say_nothing  # noqa: SLF001\n",
        "            pass\n",
        (f"{OF_EXPECTATIONS}::test_nobody_is_told_to_go_on_who_is_refused",),
    ),
    Mutant(
        "an organization checks as many connections at once as it likes",
        "services/ingest/connections/check.py",
        "        if organization_id in self._running:\n",
        "        if False:\n",
        (f"{OF_CHECKS}::test_an_organization_checks_one_connection_at_a_time",),
    ),
)
