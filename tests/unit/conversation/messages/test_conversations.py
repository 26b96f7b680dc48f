"""What a report may change of a conversation."""

from __future__ import annotations

from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest

from chassis.errors import InvalidArgument
from services.conversation.messages.domain.conversation import (
    ConversationState,
    HandoffMode,
    HandoffSource,
    Source,
    display_id,
)
from services.conversation.messages.domain.message import Author, Direction
from services.conversation.messages.domain.record import HANDOFF_LABEL
from tests.unit.conversation.messages.reports import (
    CONTACT,
    DEAL,
    NOON,
    OTHER_CONTACT,
    OTHER_DEAL,
    echo,
    item,
    message,
    report,
    thread,
)

RESOLVED = ConversationState.RESOLVED


@pytest.mark.parametrize(
    ("kept_minute", "told_minute", "counts"),
    [(5, 6, True), (5, 5, True), (5, 4, False), (5, None, False), (None, None, True), (None, 1, True)],
)
def test_a_report_counts_unless_a_newer_one_is_known(
    kept_minute: int | None, told_minute: int | None, counts: bool
) -> None:
    known = thread(item(None, report(kept_minute, "vip", assignee_name="Ana")))
    change = known.record(item(None, report(told_minute, "novo", state=RESOLVED, assignee_name="Bia")))
    assert change.conversation_updated == counts
    expected = (RESOLVED, ["novo"], "Bia") if counts else (ConversationState.OPEN, ["vip"], "Ana")
    assert (known.now.state, known.now.labels, known.now.assignee_name) == expected


@pytest.mark.parametrize("minute", [None, 5])
def test_what_comes_twice_changes_nothing(minute: int | None) -> None:
    given = item(message("1"), report(minute, "vip", unread_count=1))
    known = thread(given)
    before = deepcopy(known.now), deepcopy(known.messages)
    change = known.record(given)
    assert not change.visible
    assert not change.noted
    assert (known.now, known.messages) == before


def test_a_message_told_again_brings_nothing_else_back() -> None:
    first = item(message("1"), report(None, "vip"), contact_name="Marina")
    known = thread(first, item(None, report(None, "novo", state=RESOLVED)))
    assert not known.record(first).visible
    assert (known.now.labels, known.now.state) == (["novo"], RESOLVED)


def test_a_newer_report_that_says_the_same_is_remembered_but_not_announced() -> None:
    known = thread(item(None, report(1)))
    change = known.record(item(None, report(9)))
    assert change.noted
    assert not change.visible
    assert known.now.version == 1
    assert not known.record(item(None, report(5, state=RESOLVED))).visible


def test_a_report_without_a_state_keeps_the_state() -> None:
    known = thread(item(None, report(1, state=RESOLVED)), item(None, report(2, state=None)))
    assert known.now.state is RESOLVED


def test_unread_is_the_providers_number_where_it_has_a_time() -> None:
    known = thread(item(message("1"), report(1, unread_count=4)))
    assert known.now.unread_count == 4
    known.record(item(message("2", minute=1), report(1, unread_count=5)))
    assert known.now.unread_count == 5
    # Written before the one that is known: its number is older too, though its time is the same.
    known.record(item(message("0", minute=-1), report(1, unread_count=3)))
    assert known.now.unread_count == 5
    assert known.record(item(None, report(2, unread_count=0))).conversation_updated
    assert known.now.unread_count == 0


def test_without_a_time_each_new_message_of_the_contact_counts_once() -> None:
    known = thread(item(message("1"), report(None, unread_count=9)), item(message("2", minute=1)))
    assert known.now.unread_count == 2
    known.record(item(message("2", minute=1)))
    known.record(item(message("3", minute=2, direction=Direction.OUTBOUND)))
    assert known.now.unread_count == 2


def test_an_older_message_told_late_does_not_become_the_newest() -> None:
    known = thread(item(message("2", "second", minute=2)))
    change = known.record(item(message("1", "first", minute=1)))
    assert change.message_created
    assert known.now.last_message_preview == "second"
    assert known.now.last_message_time == known.now.activity_time == NOON + timedelta(minutes=2)


def test_of_two_messages_of_one_moment_the_higher_number_is_the_newest() -> None:
    known = thread(item(message("10", "tenth")), item(message("9", "ninth")))
    assert known.now.last_message_preview == "tenth"


def test_contact_and_deal_are_filled_in_and_then_kept() -> None:
    known = thread(item(message("1"), contact_id=None, deal_id=None, conversation_key=""))
    assert known.record(item(message("2", minute=1))).conversation_updated
    change = known.record(item(message("3", minute=2), contact_id=OTHER_CONTACT, deal_id=OTHER_DEAL))
    assert not change.conversation_updated
    assert (known.now.contact_id, known.now.deal_id) == (CONTACT, DEAL)


@pytest.mark.parametrize("deal_id", [OTHER_DEAL, None])
def test_another_contact_of_the_provider_takes_the_deal_along(deal_id: Any) -> None:
    known = thread(item(message("1"), report(1)))
    known.record(
        item(
            message("2", minute=1),
            report(2),
            provider_contact_id="500",
            contact_id=OTHER_CONTACT,
            deal_id=deal_id,
            conversation_key="whatsapp:+5511900007777",
        )
    )
    kept = known.now
    assert (kept.contact_id, kept.deal_id) == (OTHER_CONTACT, deal_id)
    assert (kept.provider_contact_id, kept.conversation_key) == ("500", "whatsapp:+5511900007777")


def test_a_stale_report_does_not_bring_a_former_contact_back() -> None:
    former = item(message("1"), report(1))
    moved = item(message("2", minute=1), report(2), provider_contact_id="500", contact_id=OTHER_CONTACT)
    known = thread(former, moved)
    assert not known.record(former).visible
    known.record(item(message("0", minute=-1), report(1)))
    assert known.now.contact_id == OTHER_CONTACT


@pytest.mark.parametrize(
    ("kept", "told", "becomes"),
    [
        ("", "whatsapp:+5511900004821", "whatsapp:+5511900004821"),
        ("whatsapp:lid:12345678901234", "whatsapp:+5511900004821", "whatsapp:+5511900004821"),
        ("whatsapp:bsuid:BR.abc", "whatsapp:+5511900004821", "whatsapp:+5511900004821"),
        ("whatsapp:+5511900004821", "whatsapp:lid:12345678901234", "whatsapp:+5511900004821"),
        ("whatsapp:+5511900004821", "whatsapp:+5511900007777", "whatsapp:+5511900004821"),
        ("whatsapp:lid:12345678901234", "", "whatsapp:lid:12345678901234"),
    ],
)
def test_a_key_follows_the_phone_once_it_is_known(kept: str, told: str, becomes: str) -> None:
    known = thread(item(message("1"), conversation_key=kept))
    known.record(item(message("2", minute=1), conversation_key=told))
    assert known.now.conversation_key == becomes


def test_a_key_does_not_follow_somebody_elses_phone() -> None:
    known = thread(item(message("1"), conversation_key="whatsapp:lid:12345678901234"))
    known.record(item(message("2", minute=1), contact_id=OTHER_CONTACT))
    assert known.now.conversation_key == "whatsapp:lid:12345678901234"


def test_a_name_follows_the_newest_word() -> None:
    known = thread(item(message("1"), report(5), contact_name="Marina"))
    assert known.record(item(message("2", minute=1), report(5), contact_name="Marina Prado")).conversation_updated
    assert not known.record(item(message("1"), report(5), contact_name="Marina")).visible
    known.record(item(message("3", minute=2), report(4), contact_name="Mari"))
    known.record(item(message("4", minute=3), report(6), contact_name=""))
    assert known.now.contact_name == "Marina Prado"


def test_the_label_gives_the_conversation_to_a_person_and_back() -> None:
    known = thread(item(message("1"), report(1)))
    assert known.record(item(None, report(2, HANDOFF_LABEL, "vip"))).handoff_changed
    kept = known.now
    assert (kept.handoff_mode, kept.handoff_source) == (HandoffMode.HUMAN, HandoffSource.LABEL)
    assert kept.handoff_time == NOON + timedelta(minutes=2)
    assert not known.record(item(None, report(3, HANDOFF_LABEL))).handoff_changed
    assert known.record(item(None, report(4))).handoff_changed
    assert (kept.handoff_mode, kept.handoff_source) == (HandoffMode.AI, HandoffSource.LABEL)


def test_a_stale_label_hands_nothing_over() -> None:
    known = thread(item(message("1"), report(5)))
    assert not known.record(item(None, report(4, HANDOFF_LABEL))).visible
    assert known.now.handoff_mode is HandoffMode.AI


def test_a_body_that_leaves_labels_out_does_not_wake_automation() -> None:
    known = thread(item(message("1"), report(None, HANDOFF_LABEL)))
    known.record(item(message("2", minute=1), report(None)))
    assert known.now.handoff_mode is HandoffMode.HUMAN
    assert known.now.labels == [HANDOFF_LABEL]


@pytest.mark.parametrize(
    ("source", "named"),
    [(Source.WHATSAPP, HandoffSource.ECHO_WHATSAPP), (Source.INSTAGRAM, HandoffSource.ECHO_INSTAGRAM)],
)
def test_an_echo_gives_the_conversation_to_a_person(source: Source, named: HandoffSource) -> None:
    known = thread(item(message("1"), report(1), source=source))
    assert known.record(item(echo("2", minute=1), report(1), source=source)).handoff_changed
    assert (known.now.handoff_mode, known.now.handoff_source) == (HandoffMode.HUMAN, named)


def test_an_echo_is_not_undone_by_reports_without_the_label() -> None:
    known = thread(item(message("1"), report(1)), item(echo("2", minute=1), report(1)))
    known.record(item(message("3", minute=2), report(3)))
    assert known.now.handoff_mode is HandoffMode.HUMAN


def test_an_echo_told_again_after_a_resume_does_not_hand_over_again() -> None:
    spoken = item(echo("2", minute=1), report(1))
    known = thread(item(message("1"), report(1)), spoken, item(None, report(3, HANDOFF_LABEL)), item(None, report(4)))
    assert known.now.handoff_mode is HandoffMode.AI
    assert not known.record(spoken).visible
    assert known.now.handoff_mode is HandoffMode.AI


def test_an_echo_whose_update_came_first_hands_over_once_its_creation_settles_who_wrote_it() -> None:
    known = thread(item(echo("1", author=Author.AGENT), report(1)))
    before = known.now.handoff_mode
    change = known.record(item(echo("1", author_settled=True), report(1)))
    assert known.messages["1"].author is Author.NATIVE_APP
    assert (change.message_updated, change.handoff_changed) == (True, True)
    assert (before, known.now.handoff_mode) == (HandoffMode.AI, HandoffMode.HUMAN)
    assert not known.record(item(echo("1", author_settled=True), report(1))).visible
    assert not known.record(item(echo("1", author=Author.AGENT), report(1))).visible


def test_an_echo_settled_after_a_later_resume_does_not_hand_over() -> None:
    known = thread(item(echo("1", author=Author.AGENT, minute=1), report(1, HANDOFF_LABEL)), item(None, report(3)))
    assert known.now.handoff_mode is HandoffMode.AI
    assert not known.record(item(echo("1", minute=1, author_settled=True), report(1))).handoff_changed


def test_an_echo_of_before_the_resume_told_late_does_not_hand_over() -> None:
    known = thread(item(message("1"), report(1, HANDOFF_LABEL)), item(None, report(10)))
    assert not known.record(item(echo("2", minute=5), report(5))).handoff_changed
    assert known.record(item(echo("3", minute=11), report(11))).handoff_changed


@pytest.mark.parametrize("author", [Author.AGENT, Author.BOT, Author.AUTOMATION, Author.CONTACT])
def test_only_an_echo_hands_over(author: Author) -> None:
    known = thread(item(message("1")))
    change = known.record(item(echo("2", minute=1, author=author)))
    assert change.message_created
    assert not change.handoff_changed


def test_each_visible_change_counts_one_version() -> None:
    known = thread(item(message("1"), report(1)))
    known.record(item(message("2", minute=1), report(2, HANDOFF_LABEL, unread_count=2)))
    known.record(item(message("2", minute=1), report(2, HANDOFF_LABEL, unread_count=2)))
    assert known.now.version == 2


@pytest.mark.parametrize("text", ["391", "1", "999999999999999999"])
def test_a_display_id_is_a_number(text: str) -> None:
    assert display_id(text) == text


@pytest.mark.parametrize("text", ["", "0", "-3", "39a", " 391", "391\n", "٣", "1" * 19])
def test_what_is_no_display_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        display_id(text)
    assert refused.value.reason == "PROVIDER_CONVERSATION_ID_INVALID"
