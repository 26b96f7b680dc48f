"""Why an event was not processed: a sentence to whoever asks, a warning in the log, and one id that finds all of it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from chassis import telemetry
from sandbox.chatwoot.signing import signed_request
from services.ingest.normal_form import IgnoredReason, InvalidReason
from services.ingest.providers import PROVIDERS
from services.ingest.reasons import ANY, CHATWOOT, EVOLUTION, explain, known
from tests.harness import SECRET, Harness, changed, sample

INCOMING = "message_created.whatsapp_cloud.incoming"
RUNBOOK = Path(__file__).parents[3] / "docs" / "runbooks" / "reasons.md"


@pytest.fixture
def logs() -> Iterator[io.StringIO]:
    """What all services log, as an operator's level has it."""
    stream = io.StringIO()
    telemetry.configure_logging("info", stream=stream)
    yield stream
    telemetry.configure_logging("error", stream=io.StringIO())


def lines(logs: io.StringIO, event: str = "") -> list[dict[str, Any]]:
    """The lines of one kind, or all."""
    found = [json.loads(line) for line in logs.getvalue().splitlines()]
    return [line for line in found if not event or line["event"] == event]


@pytest.mark.case("O10")
async def test_a_dead_letter_says_why_in_the_answer_and_once_in_the_log(harness: Harness, logs: io.StringIO) -> None:
    body = changed(sample(INCOMING), conversation__inbox_id=None)
    body.pop("inbox")
    event = await harness.deliver(body)
    assert event["state"] == "DEAD_LETTER"
    _, told = await harness.get(f"/api/v1/webhook-events/{event['id']}")
    assert told["reason"] == "NO_INBOX_CONTEXT"
    assert told["explanation"] == explain("NO_INBOX_CONTEXT", CHATWOOT)
    assert told["detail"]
    (line,) = [line for line in lines(logs, "webhook_events_dead") if str(event["id"]) in line["correlation_ids"]]
    assert line["level"] == "warning"
    assert line["explanations"] == {"NO_INBOX_CONTEXT": explain("NO_INBOX_CONTEXT", CHATWOOT)}
    _, listed = await harness.get("/api/v1/webhook-events", state="DEAD_LETTER")
    assert [item["explanation"] for item in listed["webhook_events"]] == [explain("NO_INBOX_CONTEXT", CHATWOOT)]


@pytest.mark.case("O10")
async def test_the_id_that_a_webhook_is_answered_finds_it_in_every_log(harness: Harness, logs: io.StringIO) -> None:
    raw = harness.encoded(sample(INCOMING))
    now = int(harness.world.clock.now().timestamp())
    for named in ("", "chatwoot-4711"):
        headers = signed_request(raw, SECRET, str(uuid4()), now) | ({"X-Correlation-Id": named} if named else {})
        async with harness.session.post(harness.webhook_url, data=raw, headers=headers) as answer:
            event_id = (await answer.json())["webhook_event_id"]
            answered = answer.headers["X-Correlation-Id"]
        await harness.done(event_id)
        assert answered == (named or event_id)
        if named:
            (line,) = [line for line in lines(logs) if line.get("correlation_id") == named]
            assert line["webhook_event_id"] == event_id
        services = {line["logger"].split(".")[1] for line in lines(logs) if event_id in json.dumps(line)}
        assert {"ingest", "identity", "crm", "conversation"} <= services


@pytest.mark.case("O10")
@pytest.mark.parametrize("legacy", [False, True])
async def test_a_refused_webhooks_id_is_that_of_its_log_line(harness: Harness, logs: io.StringIO, legacy: bool) -> None:
    raw = harness.encoded(sample(INCOMING))
    now = int(harness.world.clock.now().timestamp())
    headers = signed_request(raw, "another-secret-0123456789", str(uuid4()), now)
    url = harness.legacy_url if legacy else harness.webhook_url
    async with harness.session.post(url, data=raw, headers=headers) as answer:
        assert answer.status == 401
        correlation_id = answer.headers["X-Correlation-Id"]
        if not legacy:
            assert (await answer.json(content_type=None))["correlation_id"] == correlation_id
    (refused,) = lines(logs, "webhook_refused")
    assert refused["correlation_id"] == correlation_id
    assert [line["status"] for line in lines(logs, "request") if line["correlation_id"] == correlation_id] == [401]


@pytest.mark.case("O10")
@pytest.mark.parametrize(
    "headers", [{}, {"X-Api-Key": "ncrm_nobody-has-this-key"}, {"Authorization": "Bearer a.b.c"}], ids=str
)
async def test_a_401s_id_is_that_of_every_line_about_it(
    harness: Harness, logs: io.StringIO, headers: dict[str, str]
) -> None:
    async with harness.session.get(harness.url + "/api/v1/contacts", headers=headers) as answer:
        assert answer.status == 401
        problem = await answer.json(content_type=None)
    about = [line for line in lines(logs) if line.get("status") == 401 or line["event"] == "rpc_refused"]
    assert about
    assert {line["correlation_id"] for line in about} == {problem["correlation_id"]}


@pytest.mark.case("O10")
def test_every_reason_has_a_sentence_and_the_runbook_has_them_all() -> None:
    explained = known()
    for item in (*IgnoredReason, *InvalidReason):
        assert (item.value, ANY) in explained, item
    page = RUNBOOK.read_text(encoding="utf-8")
    for (reason, provider), sentence in explained.items():
        assert sentence.endswith("."), reason
        of = f", {provider.capitalize()}" if provider else ""
        assert f"| `{reason}`{of} | {sentence} |" in page


@pytest.mark.case("O10")
def test_no_provider_is_explained_with_another_one() -> None:
    assert {provider for _, provider in known()} - {ANY} == {CHATWOOT, EVOLUTION} == PROVIDERS.keys()
    for reason in InvalidReason:
        assert "Evolution" not in explain(reason.value, CHATWOOT), reason
        assert "Chatwoot" not in explain(reason.value, EVOLUTION), reason
        # One that came later has neither's words.
        assert not {"Chatwoot", "Evolution"} & set(explain(reason.value, "ANOTHER").split()), reason
    assert not any("Chatwoot" in explain(reason.value, EVOLUTION) for reason in IgnoredReason)
