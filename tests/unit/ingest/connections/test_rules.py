"""The rules about connections: secrets that give way, addresses, lanes."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from chassis.clock import SettableClock, SystemClock
from chassis.errors import FailedPrecondition, InvalidArgument
from chassis.ids import Uuid7Ids
from chassis.queues.queue import LANE_COUNT, lane_of
from services.ingest.connections.check import Kept
from services.ingest.connections.rules import (
    base_url,
    readable_name,
    something_named,
    superseded_secrets,
    token_stays_home,
)
from services.ingest.processing.event_store import first_id_at
from services.ingest.providers import PROVIDERS
from services.ingest.providers.chatwoot.check import NEEDED_EVENTS, Failure, Seen, Webhook, evaluate
from services.ingest.providers.chatwoot.shape import CONTACT_EVENTS, CONVERSATION_EVENTS, MESSAGE_EVENTS

NEW, OLD = UUID(int=2), UUID(int=1)
CONNECTION = UUID("018f0000-0000-7000-8000-000000000001")


@pytest.mark.parametrize(
    ("live", "added", "only", "dropped"),
    [
        ({}, "c", False, []),
        ({NEW: "b"}, "c", False, []),
        ({NEW: "b", OLD: "a"}, "c", False, [OLD]),
        ({NEW: "b", OLD: "a"}, "b", False, [NEW]),
        ({NEW: "b", OLD: "a"}, "a", False, [OLD]),
        ({NEW: "b", OLD: "a"}, "c", True, [NEW, OLD]),
        ({NEW: "b", OLD: "a"}, "b", True, [NEW, OLD]),
    ],
)
def test_the_newest_secret_but_one_gives_way(
    live: dict[UUID, str], added: str, only: bool, dropped: list[UUID]
) -> None:
    assert superseded_secrets(live, added, only=only) == dropped


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        (" https://chat.example.com/ ", "https://chat.example.com"),
        ("http://10.0.0.1:3000/chat/", "http://10.0.0.1:3000/chat"),
        ("https://[2606:2800:220:1::1]", "https://[2606:2800:220:1::1]"),
    ],
)
def test_a_base_url_is_kept_without_its_last_slash(given: str, kept: str) -> None:
    assert base_url(given) == kept


@pytest.mark.parametrize(
    "given",
    [
        "chat.example.com",
        "//chat.example.com",
        "file:///etc/passwd",
        "https://",
        "https://chat.example.com:0",
        "https://chat.example.com:99999",
        "https://u@chat.example.com",
        "https://chat.example.com/#x",
        "https://chat.example.com/a b",
        "https://chat.example.com/\x00",
    ],
)
def test_what_is_no_base_url_is_refused(given: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        base_url(given)
    assert refused.value.reason == "BASE_URL_INVALID"
    assert refused.value.violations[0].field == "base_url"


def test_chatwoot_has_accounts_and_evolution_none() -> None:
    account_id = PROVIDERS["CHATWOOT"].connection_rules.account_id
    assert account_id(7) == 7
    assert PROVIDERS["EVOLUTION"].connection_rules.account_id(0) is None
    with pytest.raises(InvalidArgument) as refused:
        account_id(0)
    assert refused.value.reason == "ACCOUNT_ID_MISSING"
    assert "/app/accounts/" in refused.value.message


HOME = "https://chat.example.com"


@pytest.mark.parametrize("wanted", ["", HOME, f"{HOME}:443/chat", "https://CHAT.example.com"])
def test_a_token_stays_with_its_server_whatever_the_path(wanted: str) -> None:
    token_stays_home(HOME, wanted)


@pytest.mark.parametrize(
    ("kept", "wanted"),
    [
        (HOME, "http://chat.example.com"),
        (HOME, f"{HOME}:8443"),
        (HOME, "https://chat.example.com.evil.example"),
        ("", HOME),
    ],
)
def test_a_token_goes_nowhere_else_by_itself(kept: str, wanted: str) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        token_stays_home(kept, wanted)
    assert refused.value.reason == "ACCESS_TOKEN_NEEDED"


def test_what_only_says_which_one_is_meant_changes_nothing() -> None:
    something_named(["connection_id", "name"])
    with pytest.raises(InvalidArgument) as refused:
        something_named(["connection_id", "channel_id", "etag", "request_id"])
    assert refused.value.reason == "NOTHING_TO_CHANGE"


def test_a_name_loses_blanks_and_nothing_else() -> None:
    assert readable_name(" Escola\x00 Ipê ") == "Escola Ipê"


def test_a_check_asks_for_every_event_that_the_parser_reads() -> None:
    assert set(NEEDED_EVENTS) == CONVERSATION_EVENTS | MESSAGE_EVENTS | CONTACT_EVENTS


def test_a_lane_depends_on_connection_and_key_and_never_changes() -> None:
    lanes = {lane_of(f"{CONNECTION}/conversation/{number}") for number in range(2_000)}
    assert lanes == set(range(LANE_COUNT))
    assert lane_of(f"{CONNECTION}/conversation/1") == 32
    assert lane_of(f"{UUID(int=7)}/conversation/1") != lane_of(f"{CONNECTION}/conversation/1")


def test_the_first_id_of_a_moment_sorts_before_all_made_in_it() -> None:
    now = SystemClock().now()
    made = Uuid7Ids(SettableClock(now), lambda count: b"\x00" * count).new()
    assert first_id_at(now) < made
    assert first_id_at(now).int >> 80 == made.int >> 80


def checked(webhooks: tuple[Webhook, ...] | Failure, *secrets: str) -> dict[str, tuple[bool, str]]:
    """What a check says of the webhooks that Chatwoot shows."""
    end_time = datetime(2026, 12, 24, tzinfo=UTC)
    kept = Kept(7, "", "", "/webhooks/chatwoot/k", secrets, end_time, (), last_event_time=None)
    nothing = Failure("not asked")
    items = evaluate(kept, Seen(nothing, nothing, nothing, webhooks))
    return {item.name: (item.passed, item.detail) for item in items}


def webhook(url: str, secret: str = "") -> Webhook:
    return Webhook(url=url, subscriptions=frozenset(NEEDED_EVENTS), secret=secret)


@pytest.mark.parametrize(
    "url",
    [
        "https://prosa.example.com/webhooks/chatwoot/k",
        "https://prosa.example.com/proxy/webhooks/chatwoot/k/?x=1",
        "https://prosa.example.com/api/chatwoot/webhook",
    ],
)
def test_a_webhook_is_ours_by_its_path(url: str) -> None:
    assert checked((webhook("https://other.example.com/x"), webhook(url)))["webhook_registered"][0]


@pytest.mark.parametrize("url", ["https://prosa.example.com/webhooks/chatwoot/kk", "https://[broken", ""])
def test_a_webhook_that_leads_elsewhere_is_not_ours(url: str) -> None:
    assert not checked((webhook(url),))["webhook_registered"][0]


def test_two_webhooks_that_lead_here_are_one_too_many_but_work() -> None:
    url = "https://prosa.example.com/webhooks/chatwoot/k"
    passed, detail = checked((webhook(url), webhook(f"{url}?twice")))["webhook_registered"]
    assert passed
    assert "2 webhooks lead here" in detail


def test_secrets_are_held_against_what_chatwoot_signs_with() -> None:
    url = "https://prosa.example.com/webhooks/chatwoot/k"
    assert checked((webhook(url, "b"),), "b", "a")["secret_set"] == (
        True,
        "2 webhook secrets are kept, and Chatwoot signs with one of them.",
    )
    assert not checked((webhook(url, "c"),), "b", "a")["secret_set"][0]
    # A release that does not sign shows no secret, and an account that cannot be asked shows nothing.
    assert checked((webhook(url),), "b")["secret_set"] == (True, "One webhook secret is kept.")
    assert checked(Failure("away"), "b")["secret_set"][0]
    assert not checked((webhook(url, "b"),))["secret_set"][0]
