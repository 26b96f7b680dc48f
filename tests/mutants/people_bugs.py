"""Bugs about who is who, what is said and what it is worth: identity, conversation, crm, outreach."""

from __future__ import annotations

from tests.mutants.table import Mutant

RULE = "services/identity/contacts/domain.py"
OF_RULE = "tests/unit/identity/contacts/test_resolution_rule.py"
RECORD = "services/conversation/messages/domain/record.py"
OF_CONVERSATIONS = "tests/unit/conversation/messages/test_conversations.py"
OF_DEALS = "tests/integration/crm/test_ensure_deals.py"
OF_PEOPLE = "tests/integration/main_way/test_people.py"
OF_REFERENCES = "tests/integration/main_way/test_used_references.py"
OF_REACTIONS = "tests/integration/conversation/test_reaction_ids.py"
OF_RECORD = "tests/integration/conversation/messages/test_recording.py"

MUTANTS = (
    Mutant(
        "one of several candidates is picked",
        RULE,
        "    if len(contacts) > 1:\n        return _ambiguous(found, contacts)\n",
        "",
        (
            "tests/integration/identity/contacts/test_resolution.py::test_several_candidates_are_left_alone_and_asked_about_once",
        ),
    ),
    Mutant(
        "a LID that stood in stays beside the phone",
        RULE,
        "            decision.promote, decision.retire = found.provisionals[0], tuple(found.provisionals[1:])\n",
        "            decision.link = True\n",
        (
            "tests/integration/identity/contacts/test_resolution.py::test_a_lid_is_a_person_until_the_phone_is_known_and_then_gives_way",
        ),
    ),
    Mutant(
        "people are written without a lock",
        "services/identity/contacts/resolver.py",
        "            await resolution_store.lock_keys(tx, again)\n",
        "",
        (
            "tests/integration/identity/contacts/test_resolution.py::test_two_ids_with_one_new_phone_at_once_make_one_contact",
        ),
    ),
    Mutant(
        "a stale report changes the state",
        RECORD,
        "    if report is not None and (newer or (same and not repeated)):\n",
        "    if report is not None:\n",
        (f"{OF_RECORD}::test_a_stale_report_changes_no_state",),
    ),
    Mutant(
        "an echo of before a resume undoes it",
        RECORD,
        "        and (conversation.handoff_time is None or message.create_time >= conversation.handoff_time)\n",
        "",
        (f"{OF_CONVERSATIONS}::test_an_echo_of_before_the_resume_told_late_does_not_hand_over",),
    ),
    Mutant(
        "an older message reported late becomes the newest",
        RECORD,
        "    newest = fresh is not None and is_newest(conversation, fresh)\n",
        "    newest = fresh is not None\n",
        (f"{OF_CONVERSATIONS}::test_an_older_message_told_late_does_not_become_the_newest",),
    ),
    Mutant(
        "a deal that people opened is not adopted",
        "services/crm/ensure.py",
        "        opened = await ensure_store.find_open(tx, held)\n",
        "        opened: dict[EnsureKey, OpenDeal] = {}\n",
        (f"{OF_DEALS}::test_the_oldest_deal_that_people_opened_on_the_board_is_adopted",),
    ),
    Mutant(
        "parallel first messages claim nothing before they make a deal",
        "services/crm/ensure.py",
        "        held = await ensure_store.claim(tx, proposed)\n",
        "        held = dict(proposed)\n",
        (f"{OF_DEALS}::test_fifty_parallel_first_messages_make_one_deal",),
    ),
    Mutant(
        "an old mobile cannot begin with 6",
        "chassis/canonical.py",
        "(?P<old_mobile>[6-9]",
        "(?P<old_mobile>[7-9]",
        ("tests/unit/chassis/test_canonical.py::test_national_variants_of_one_number_are_one_identity",),
    ),
    Mutant(
        "an e-mail joins whoever has an id of the source already",
        RULE,
        "return _apart(*contacts) if contacts[0] in found.sourced else Decision(outcome, contacts[0], link=True)",
        "return Decision(outcome, contacts[0], link=True)",
        (f"{OF_PEOPLE}::test_people_who_share_an_email_are_never_one",),
    ),
    Mutant(
        "an ambiguous outcome teaches the contact",
        RULE,
        "        return self.make_contact or not (self.contested or self.outcome is Outcome.AMBIGUOUS)\n",
        "        return True\n",
        (f"{OF_PEOPLE}::test_a_number_that_becomes_anothers_changes_nobodys_profile",),
    ),
    Mutant(
        "a weak match replaces what is kept",
        RULE,
        "return self.teaches and self.outcome not in (Outcome.FALLBACK_PHONE, Outcome.FALLBACK_EMAIL)",
        "return self.teaches",
        (f"{OF_PEOPLE}::test_a_weak_match_fills_gaps_and_replaces_nothing",),
    ),
    Mutant(
        "a reference alone hands a person over",
        RULE,
        "    weak = contact_id not in found.owned and (bool(others) or contact_id in found.doubted)\n",
        "    weak = contact_id not in found.owned and bool(others)\n",
        (
            f"{OF_REFERENCES}::test_a_stranger_under_a_used_reference_is_a_contact_of_their_own",
            f"{OF_REFERENCES}::test_somebody_of_another_source_under_a_used_reference_is_nobody_known",
        ),
    ),
    Mutant(
        "a number that changed is a stranger's whatever agrees",
        "services/identity/contacts/evidence.py",
        "    if known_name and known_name in (name, fold_name(person.removed_name)):\n        return False\n",
        "",
        (f"{OF_REFERENCES}::test_a_number_that_changes_stays_with_the_person_whom_something_else_names[name]",),
    ),
    Mutant(
        "an event of an unknown conversation is forgotten before the next of the same",
        "services/conversation/messages/recording.py",
        "                    nowhere.add(item.key)\n",
        "",
        (f"{OF_RECORD}::test_what_names_no_conversation_that_is_known_holds_back_its_own_and_halves_no_batch",),
    ),
    Mutant(
        "a reaction whose id another conversation got at that moment is lost",
        "services/conversation/messages/reaction_store.py",
        "    if written.rowcount < len(ordered):\n",
        "    if written.rowcount > len(ordered):\n",
        (f"{OF_REACTIONS}::test_two_conversations_that_get_one_reaction_id_at_the_same_moment_have_one_each",),
    ),
    Mutant(
        "a phone of one beats an e-mail of another",
        RULE,
        "    contacts = _distinct(*found.carriers, *found.email_contacts)\n",
        "    contacts = _distinct(*(found.carriers or found.email_contacts))\n",
        (f"{OF_REFERENCES}::test_a_phone_of_one_and_an_email_of_another_is_nobodys_to_pick",),
    ),
)
