"""What a report may change of a message."""

from __future__ import annotations

import pytest

from services.conversation.messages.domain.conversation import PREVIEW_LENGTH_MAX, preview
from services.conversation.messages.domain.message import Attachment, Author, Direction, MessageState
from tests.unit.conversation.messages.reports import item, message, report, thread

SENT, DELIVERED, READ, FAILED = (
    MessageState.SENT,
    MessageState.DELIVERED,
    MessageState.READ,
    MessageState.FAILED,
)


@pytest.mark.parametrize(
    ("kept", "told", "becomes"),
    [
        (SENT, DELIVERED, DELIVERED),
        (SENT, READ, READ),
        (SENT, FAILED, FAILED),
        (DELIVERED, READ, READ),
        (DELIVERED, SENT, DELIVERED),
        (DELIVERED, FAILED, DELIVERED),
        (READ, SENT, READ),
        (READ, DELIVERED, READ),
        (READ, FAILED, READ),
        (FAILED, SENT, FAILED),
        (FAILED, DELIVERED, DELIVERED),
        (FAILED, READ, READ),
        (READ, MessageState.UNSPECIFIED, READ),
    ],
)
def test_a_state_gives_way_only_to_a_later_one(kept: MessageState, told: MessageState, becomes: MessageState) -> None:
    known = thread(item(message("1", state=kept, error_message="timeout")))
    change = known.record(item(message("1", state=told, error_message="timeout")))
    assert known.messages["1"].state is becomes
    assert known.messages["1"].error_message == ("timeout" if becomes is FAILED else "")
    assert change.message_updated == (kept is not becomes)


def test_a_message_without_a_state_was_sent_at_least() -> None:
    assert thread(item(message("1"))).messages["1"].state is SENT


def test_why_it_failed_may_be_told_later() -> None:
    known = thread(item(message("1", state=FAILED)))
    assert known.record(item(message("1", state=FAILED, error_message="Number is not on WhatsApp"))).message_updated
    assert not known.record(item(message("1", state=FAILED))).visible
    assert known.messages["1"].error_message == "Number is not on WhatsApp"


def test_a_deletion_empties_the_message_and_its_preview_for_good() -> None:
    photo = Attachment("image", "https://files.example.com/1.jpg", "1.jpg", 10)
    known = thread(item(message("1", "my card is 1234", attachments=[photo]), report(1)))
    change = known.record(item(message("1", "This message was deleted", deleted=True), report(1)))
    assert change.message_updated
    assert not known.record(item(message("1", "my card is 1234", attachments=[photo]), report(2))).message_updated
    kept = known.messages["1"]
    assert (kept.deleted, kept.text, kept.original_text, kept.attachments) == (True, "", None, [])
    assert known.now.last_message_preview == ""


def test_a_message_that_was_deleted_before_it_was_heard_of_keeps_nothing() -> None:
    known = thread(item(message("1", "This message was deleted", deleted=True)))
    assert known.messages["1"].text == ""
    assert known.now.unread_count == 0


def test_an_edit_replaces_the_text_and_the_preview() -> None:
    known = thread(item(message("1", "at three"), report(1)))
    assert known.record(item(message("1", "at four"), report(1))).message_updated
    assert known.messages["1"].text == known.now.last_message_preview == "at four"
    assert known.messages["1"].original_text == "at three"


def test_the_original_told_again_does_not_undo_an_edit() -> None:
    known = thread(item(message("1", "at three"), report(1)), item(message("1", "at four"), report(1)))
    assert not known.record(item(message("1", "at three"), report(1))).visible
    assert known.messages["1"].text == "at four"


def test_an_edit_back_to_the_original_counts_when_it_is_newer() -> None:
    known = thread(item(message("1", "at three"), report(1)), item(message("1", "at four"), report(2)))
    assert known.record(item(message("1", "at three"), report(3))).message_updated
    assert known.messages["1"].text == "at three"


def test_an_older_report_does_not_undo_an_edit() -> None:
    known = thread(item(message("1", "at three"), report(1)), item(message("1", "at five"), report(9)))
    assert not known.record(item(message("1", "at four"), report(5))).visible
    assert known.messages["1"].text == "at five"


def test_a_bare_status_leaves_the_content_alone() -> None:
    photo = Attachment("image", "https://files.example.com/1.jpg", "1.jpg", 10)
    known = thread(item(message("1", "look", attachments=[photo])))
    change = known.record(item(message("1", "", direction=Direction.UNSPECIFIED, content_type="", state=READ)))
    kept = known.messages["1"]
    assert change.message_updated
    assert (kept.text, kept.attachments, kept.content_type, kept.direction) == (
        "look",
        [photo],
        "text",
        Direction.INBOUND,
    )


def test_who_wrote_it_stays_as_first_told() -> None:
    known = thread(item(message("1", direction=Direction.OUTBOUND, author=Author.AGENT)))
    known.record(
        item(message("1", direction=Direction.OUTBOUND, author=Author.NATIVE_APP, provider_source_id="WAID:1"))
    )
    assert known.messages["1"].author is Author.AGENT
    assert known.messages["1"].provider_source_id == "WAID:1"


def test_an_update_of_a_message_never_heard_of_adds_it_and_its_creation_told_late_changes_nothing() -> None:
    known = thread(item(message("1", "at four", state=DELIVERED), report(2)))
    assert known.messages["1"].text == "at four"
    assert not known.record(item(message("1", "at three"), report(1))).visible
    assert known.messages["1"].text == "at four"


def test_a_preview_is_short_and_on_one_line() -> None:
    assert preview("Bom dia!\n\nTudo  bem?") == "Bom dia! Tudo bem?"
    assert len(preview("á " * 500)) <= PREVIEW_LENGTH_MAX
