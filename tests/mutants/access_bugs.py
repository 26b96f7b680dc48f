"""Bugs about who signs in, what a browser may do, and who may change a deal or a contact: identity, gateway, crm."""

from __future__ import annotations

from tests.mutants.table import Mutant

OF_ACCESS = "tests/integration/identity/access"
OF_SECOND_FACTOR = f"{OF_ACCESS}/test_second_factor.py"
OF_SESSIONS = f"{OF_ACCESS}/test_sessions.py"
OF_TAKING_OVER = "tests/unit/identity/contacts/test_taking_over.py"
OF_MERGING = "tests/integration/identity/contacts/test_merging.py"
OF_MOVES = "tests/integration/crm/test_moving_deals.py"

MUTANTS = (
    Mutant(
        "a code of the authenticator is good twice",
        "services/identity/access/mfa_store.py",
        " where user_id = %(user_id)s and setup_time is not null and last_step < %(step)s",
        " where user_id = %(user_id)s and setup_time is not null and last_step <= %(step)s",
        (f"{OF_SECOND_FACTOR}::test_signing_in_takes_a_code_that_was_not_used",),
    ),
    Mutant(
        "a recovery code is good twice",
        "services/identity/access/mfa_store.py",
        " where user_id = %(user_id)s and code_hash = %(code_hash)s and use_time is null",
        " where user_id = %(user_id)s and code_hash = %(code_hash)s",
        (f"{OF_SECOND_FACTOR}::test_a_recovery_code_opens_once_and_is_no_other_person_s",),
    ),
    Mutant(
        "a set-up of the second factor never ends",
        "services/identity/access/second_factor.py",
        "        if factor is None or now - factor.begin_time > totp.MFA_SETUP_LIFE:\n",
        "        if factor is None:\n",
        (f"{OF_SECOND_FACTOR}::test_a_setup_is_finished_within_a_quarter_of_an_hour_and_once",),
    ),
    Mutant(
        "the secret of before knows of the step-up",
        "services/identity/access/session_domain.py",
        "        return self.mfa_time if secret_hash == self.secret_hash else self.previous_mfa_time\n",
        "        return self.mfa_time\n",
        (f"{OF_SECOND_FACTOR}::test_the_secret_of_before_is_taken_a_minute_longer_and_gains_nothing_by_the_step_up",),
    ),
    Mutant(
        "a session that is used lasts for ever",
        "services/identity/access/session_domain.py",
        "        return min(self.last_use_time + SESSION_REST, self.end_time)\n",
        "        return self.last_use_time + SESSION_REST\n",
        (f"{OF_SESSIONS}::test_a_session_that_rested_too_long_or_lasted_too_long_has_ended",),
    ),
    Mutant(
        "a session that signed out goes on in live updates",
        "services/identity/access/sessions.py",
        "            if await session_store.end_session(tx, session.id, now):\n"
        '                await self._revoke(tx, session.organization_id, f"session:{session.id}", now)\n',
        "            if await session_store.end_session(tx, session.id, now):\n",
        (f"{OF_SESSIONS}::test_live_updates_come_by_cookie_and_end_with_the_session",),
    ),
    Mutant(
        "any csrf_token is the page's own",
        "gateway/sessions.py",
        '    if not hmac.compare_digest(given.encode("utf-8", "replace"), found.csrf_token.encode()):\n',
        "    if not given:\n",
        (f"{OF_SESSIONS}::test_one_session_s_token_is_no_other_s",),
    ),
    Mutant(
        "a page of another site signs people in",
        "gateway/sessions.py",
        "        if any(_spelt_out(origin) != _spelt_out(own) for origin in origins):\n"
        '            raise _csrf_invalid(f"The request comes from a page of another address than {own}.")\n',
        "",
        (f"{OF_SESSIONS}::test_nobody_is_signed_in_by_a_page_of_another_site",),
    ),
    Mutant(
        "a script reads the cookie",
        "gateway/sessions.py",
        "            httponly=True,\n",
        "            httponly=False,\n",
        (f"{OF_SESSIONS}::test_the_cookie_is_no_script_s_and_no_other_site_s",),
    ),
    Mutant(
        "a merge undone takes what was written since",
        "services/identity/contacts/merge_domain.py",
        '        name="" if taken.name and contact.name == taken.name else contact.name,\n',
        '        name="" if taken.name else contact.name,\n',
        (f"{OF_TAKING_OVER}::test_what_was_written_on_the_survivor_since_is_its_own",),
    ),
    Mutant(
        "an undone merge keeps the tags that came with it",
        "services/identity/contacts/merge_domain.py",
        "        tags=[tag for tag in contact.tags if tag not in taken.tags],\n",
        "        tags=list(contact.tags),\n",
        (f"{OF_TAKING_OVER}::test_what_the_survivor_lacked_goes_back_and_its_own_stays",),
    ),
    Mutant(
        "a survivor may be anybody",
        "services/identity/contacts/merge_domain.py",
        "    if surviving is None or surviving not in parties:\n",
        "    if surviving is None:\n",
        (f"{OF_MERGING}::test_a_survivor_whom_the_conflict_is_not_about_is_refused",),
    ),
    Mutant(
        "a deal moves wherever it was believed to be",
        "services/crm/moving.py",
        "            moves.stage_expected(deal, wanted.from_stage_id, last)\n",
        "            del last\n",
        (f"{OF_MOVES}::test_who_believes_the_deal_elsewhere_is_told_who_moved_it",),
    ),
    Mutant(
        "two who move a card at once both move it",
        "services/crm/moving.py",
        "            before = await deal_store.find_deal(tx, organization_id, wanted.deal_id, lock=True)\n",
        "            before = await deal_store.find_deal(tx, organization_id, wanted.deal_id)\n",
        (f"{OF_MOVES}::test_two_who_move_one_card_at_once_move_it_once",),
    ),
    Mutant(
        "the stage that it is in is moved to again",
        "services/crm/moving.py",
        "        if moved or wanted.remark.note:\n",
        "        if True:\n",
        (f"{OF_MOVES}::test_the_stage_it_is_in_takes_what_is_said_and_moves_nothing",),
    ),
    Mutant(
        "who was removed goes on with what they are signed in with",
        "services/identity/access/memberships.py",
        "        await self._sessions.end_all(tx, organization_id, user_id, now)\n"
        '        await member_store.withdraw(tx, organization_id, now, inviter=f"user:{user_id}")\n',
        '        await member_store.withdraw(tx, organization_id, now, inviter=f"user:{user_id}")\n',
        (f"{OF_ACCESS}/test_membership.py::test_who_is_removed_sees_no_more_and_may_be_invited_again",),
    ),
    Mutant(
        "two owners who are removed at once both go",
        "services/identity/access/memberships.py",
        "        await access_store.lock_organization(tx, organization_id)\n",
        "",
        (f"{OF_ACCESS}/test_membership.py::test_of_two_owners_who_are_removed_at_once_one_stays",),
    ),
    Mutant(
        "wrong codes are looked at without an end",
        "services/identity/access/second_factor.py",
        "                if failures <= totp.MFA_FAILURES_MAX:\n",
        "                if True:\n",
        (
            f"{OF_SECOND_FACTOR}::test_wrong_codes_of_many_networks_count_together_and_where_a_right_one_was_shown_apart",
        ),
    ),
)
