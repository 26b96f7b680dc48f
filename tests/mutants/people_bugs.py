"""Bugs about who is who, what is said and what it is worth: identity, conversation, crm, outreach."""

from __future__ import annotations

from tests.mutants.table import Mutant

RULE = "services/identity/domain.py"
OF_RULE = "tests/unit/identity/test_resolution_rule.py"
RECORD = "services/conversation/domain/record.py"
OF_RECORD = "tests/integration/conversation/test_recording.py"

MUTANTS = (
    Mutant(
        "one of several candidates is picked",
        RULE,
        "        if len(contacts) > 1:\n            return _ambiguous(found, contacts)\n",
        "",
        ("tests/integration/identity/test_resolution.py::test_several_candidates_are_left_alone_and_asked_about_once",),
    ),
    Mutant(
        "a LID that stood in stays beside the phone",
        RULE,
        "            decision.promote, decision.retire = found.stand_ins[0], tuple(found.stand_ins[1:])\n",
        "            decision.link = True\n",
        (
            "tests/integration/identity/test_resolution.py::test_a_lid_is_a_person_until_the_phone_is_known_and_then_gives_way",
        ),
    ),
    Mutant(
        "people are written without a lock",
        "services/identity/resolver.py",
        "            await resolution_store.lock_keys(tx, again)\n",
        "",
        ("tests/integration/identity/test_resolution.py::test_two_ids_with_one_new_phone_at_once_make_one_contact",),
    ),
    Mutant(
        "a repeated report counts as unread again",
        RECORD,
        "    _count_unread(conversation, report, fresh, newer=newer, newest=newest)\n",
        "    _count_unread(conversation, report, fresh or kept, newer=newer, newest=newest)\n",
        (f"{OF_RECORD}::test_a_conversation_told_again_keeps_its_unread_number_and_who_answers",),
    ),
    Mutant(
        "an echo told late undoes a resume",
        RECORD,
        "    echo = written is not None and _is_echo(conversation, written)\n",
        "    echo = fresh is not None or kept is not None and _is_echo(conversation, kept)\n",
        (f"{OF_RECORD}::test_an_echo_hands_over_and_a_resume_is_not_undone_by_its_redelivery",),
    ),
    Mutant(
        "an ensured deal is made anew at every call",
        "services/crm/ensure.py",
        "            missing = {key: item for key, item in first.items() if key not in deals}\n",
        "            missing = dict(first)\n",
        ("tests/integration/crm/test_ensure_deals.py::test_asking_again_answers_the_same_deal_and_announces_nothing",),
    ),
)
