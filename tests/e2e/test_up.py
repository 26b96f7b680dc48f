"""The whole suite as people meet it: one command up, conversations arriving, the smoke, kills, and a second start."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from chassis.crypto import KEY_FILE
from cli.readings import READINGS
from cli.smoke.bodies import Writer, flat_message
from cli.smoke.command import SCENARIOS
from embedded.ports import LOOPBACK
from embedded.shapes import Shape
from prosa.v1.options_pb2 import SOURCE_WHATSAPP
from sandbox.chatwoot.signing import signed_request
from tests.e2e.suite import Suite
from tests.listeners import http, listening

BOOTSTRAP_KEYS = {
    "url",
    "metrics_url",
    "grpc_address",
    "database_url",
    "organization_id",
    "admin",
    "api_key",
    "chatwoot",
    "evolution",
}
ORGANIZATION = "Escola Ipê Idiomas"
BLOCKED_EVENTS = 20
LOOK_SECONDS = 90.0


@pytest.fixture
async def suite(tmp_path: Path) -> AsyncIterator[Suite]:
    """A home that nobody used before."""
    running = Suite(tmp_path / "a home")
    yield running
    await running.close()


@pytest.mark.timeout(600)
@pytest.mark.case("O8", "O9")
@pytest.mark.req("OP-01", "OP-02", "OP-03", "OP-17", "OP-23")
@pytest.mark.req("IN-01", "IN-03", "IN-04", "IN-05", "IN-06", "IN-07")
async def test_one_command_brings_everything_up_and_kills_do_not_matter(suite: Suite) -> None:
    printed = await suite.start("--demo", "--shape", Shape.RECEIVER)
    content = suite.bootstrap()
    assert content == printed
    assert content.keys() == BOOTSTRAP_KEYS
    assert content["chatwoot"]["inboxes"] == {"whatsapp": 21, "instagram": 22}
    async with aiohttp.ClientSession(headers={"X-Api-Key": content["api_key"]}) as session:
        await _conversations_arrive(session, content["url"])
        await _pages_answer(session, content)
        await _the_fake_alone_is_reached(session, content)
        await _smoke_passes(suite)
        await _status_tells_all(suite)
        await _a_blocked_consumer_loses_nothing(suite, session, content)
        contacts = await _contacts(session, content["url"])
    code, _, err = await suite.run("up")
    assert code == 2, "one home, one suite"
    assert "Another prosa up runs on this home" in err

    await suite.end(signal.SIGKILL)
    await suite.until_gone()
    again = await suite.start("--shape", Shape.RECEIVER)
    # Without --demo there is no fake Evolution to speak of.
    moved = {"metrics_url": "", "grpc_address": "", "evolution": None}
    assert {**again, **moved} == {**content, **moved}
    async with aiohttp.ClientSession(headers={"X-Api-Key": again["api_key"]}) as session:
        assert contacts <= await _contacts(session, again["url"])
    assert await suite.end(signal.SIGTERM) == 0
    assert suite.processes() == []
    assert not suite.bootstrap_file.exists()

    lost = suite.home / "keys" / KEY_FILE
    kept = lost.read_bytes()
    lost.unlink()
    code, out, _ = await suite.run("up", "--json", "--shape", Shape.RECEIVER)
    assert (code, json.loads(out)["error"]["reason"]) == (2, "KEYS_LOST")
    assert not lost.exists(), "no key takes the place of one that secrets are sealed with"
    lost.write_bytes(kept)


async def test_a_taken_port_is_refused_with_a_way_out(suite: Suite) -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, suite.http_port))
        other.listen()
        code, _, err = await suite.run("up")
    assert code == 2
    assert f"Port {suite.http_port} is taken" in err
    assert "--http-port" in err
    assert suite.processes() == []


async def test_a_home_that_cannot_be_used_is_refused_with_a_way_out(suite: Suite) -> None:
    suite.home.write_text("no directory")
    code, out, _ = await suite.run("up", "--json")
    assert code == 2
    refusal = json.loads(out)["error"]
    assert refusal["reason"] == "HOME_UNUSABLE"
    assert "--home" in refusal["message"]


async def _conversations_arrive(session: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(LOOK_SECONDS):
        while True:
            async with session.get(f"{url}/api/v1/conversations") as answer:
                assert answer.status == 200
                if len((await answer.json())["conversations"]) >= 3:
                    return
            await asyncio.sleep(0.1)


async def _the_fake_alone_is_reached(session: aiohttp.ClientSession, content: dict[str, Any]) -> None:
    """The demo lets outgoing calls reach its Chatwoot on loopback, and nothing else there."""
    connections = f"{content['url']}/api/v1/connections"

    async def reached(connection_id: str) -> dict[str, Any]:
        async with session.post(f"{connections}/{connection_id}:check", json={}) as answer:
            found: dict[str, Any] = next(
                item for item in (await answer.json())["items"] if item["name"] == "api_reachable"
            )
            return found

    async with session.get(connections) as answer:
        [demo] = [one for one in (await answer.json())["connections"] if one["provider"] == "CHATWOOT"]
    assert (await reached(demo["connection_id"]))["passed"]
    async with listening(http(b'{"version":"4.15.1"}')) as other:
        body = {"provider": "CHATWOOT", "name": "Other", "account_id": 9, "base_url": f"http://{LOOPBACK}:{other.port}"}
        async with session.post(connections, json=body) as answer:
            made = await answer.json()
        assert "no public address" in (await reached(made["connection_id"]))["detail"]
        assert await other.nothing_came()


async def _pages_answer(session: aiohttp.ClientSession, content: dict[str, Any]) -> None:
    """What the architecture's section 10 promises to people and tools."""
    for path in ("/healthz", "/health", "/readyz", "/api/openapi.json", "/api/docs", "/", "/api/chatwoot/webhook"):
        async with session.get(content["url"] + path) as answer:
            assert answer.status == 200, path
    async with session.get(content["url"] + "/api/chatwoot/webhook") as answer:
        assert (await answer.json())["status"] == "ok"
    async with session.get(content["url"] + "/metrics") as answer:
        assert answer.status == 404, "metrics are not for the public port"
    async with session.get(content["metrics_url"]) as answer:
        answered = _samples(await answer.text(), "prosa_process_answered")
    assert answered
    assert set(answered.values()) == {1.0}
    sign_in = {"email": content["admin"]["email"], "password": content["admin"]["password"]}
    async with session.post(content["url"] + "/api/v1/sessions", json=sign_in) as answer:
        assert (await answer.json())["organization_id"] == content["organization_id"]
    async with await psycopg.AsyncConnection.connect(content["database_url"]) as connection:
        for view in [reading.view for reading in READINGS] + ["messaging_channel_configs"]:
            found = await connection.execute(f"select count(*) from {view}".encode())
            row = await found.fetchone()
            assert row is not None
            assert row[0] > 0, view


async def _smoke_passes(suite: Suite) -> None:
    code, out, _ = await suite.run("smoke", "variables", "--json")
    assert code == 0
    variables = json.loads(out)
    # One of several organizations is named as everywhere; five lines and a sum, and the rows only on demand.
    assert (await suite.run("org", "create", "--name", "Outra", "--admin", "a@outra.example"))[0] == 0
    code, out, err = await suite.run("smoke", "--org", ORGANIZATION.upper(), variables=variables)
    assert code == 0, out + err
    assert [row.split()[1] for row in out.splitlines()[:-1]] == list(SCENARIOS)
    assert out.splitlines()[-1].startswith("PASS  5 of 5 scenarios")
    code, out, _ = await suite.run("smoke", "--verbose", "--only", "isolation", variables=variables)
    assert code == 0
    for reading in READINGS:
        assert reading.title in out


async def _status_tells_all(suite: Suite) -> None:
    code, out, _ = await suite.run("status", "--json")
    told = json.loads(out)
    assert (code, told["ready"], told["home"]) == (0, True, str(suite.home))
    assert {"postgres", "nats", "receiver", "rest"} <= {process["name"] for process in told["processes"]}
    for process in told["processes"]:
        assert datetime.fromisoformat(process["start_time"]) <= datetime.now(UTC)
        assert set(process["dependencies"].values()) <= {"ok"}
    assert told["waiting"]["count"] >= 0
    # The demo's own organization is nobody's: the other one is meant.
    code, out, err = await suite.run("api-key", "list")
    assert (code, out, err) == (0, "No key yet.\n", "")


async def _a_blocked_consumer_loses_nothing(
    suite: Suite, session: aiohttp.ClientSession, content: dict[str, Any]
) -> None:
    """Freezes what processes events, lets 20 arrive, thaws it, and plays all of them again."""
    worker = suite.pid("ingest")
    begun = datetime.now(UTC)
    os.kill(worker, signal.SIGSTOP)
    try:
        for number in range(1, BLOCKED_EVENTS + 1):
            assert await _write(session, content, number) == 200
        assert await _away(session, content) == {"rest"}, "monitoring sees it"
    finally:
        os.kill(worker, signal.SIGCONT)
    ids = await _processed(session, content["url"], begun)
    assert await _away(session, content) == set(), "monitoring sees that it is back"
    _one_id_is_found_in_every_service(suite, next(iter(ids)))
    words = ("events", "replay", "--org", ORGANIZATION, "--since", begun.isoformat(), "--state", "processed")
    code, out, err = await suite.run(*words, "--yes", "--json")
    assert code == 0, err
    replayed = json.loads(out)
    assert set(replayed["outcomes"]) == {"PROCESSED"}
    assert replayed["replayed_count"] >= BLOCKED_EVENTS
    assert await _processed(session, content["url"], begun) == ids, "the same events lead to the same messages"
    assert len(set(ids.values())) == BLOCKED_EVENTS


async def _away(session: aiohttp.ClientSession, content: dict[str, Any]) -> set[str]:
    """The processes that give no sign of life."""
    async with session.get(content["metrics_url"]) as answer:
        answered = _samples(await answer.text(), "prosa_process_answered")
    return {process for process, value in answered.items() if value == 0.0}


def _samples(page: str, name: str) -> dict[str, float]:
    """By process, the samples of one metric."""
    return {
        sample.labels["process"]: sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name
    }


def _one_id_is_found_in_every_service(suite: Suite, correlation_id: str) -> None:
    """Follows one message through the logs as support does: by its one id."""
    lines = [
        json.loads(line)
        for file in (suite.home / "logs").glob("*.log")
        for line in file.read_text(encoding="utf-8").splitlines()
        if correlation_id in line
    ]
    loggers = " ".join(line["logger"] for line in lines)
    for service in ("gateway.", "services.ingest.", "services.identity.", "services.crm.", "services.conversation."):
        assert service in loggers, (service, loggers)


async def _write(session: aiohttp.ClientSession, content: dict[str, Any], number: int) -> int:
    writer = Writer(SOURCE_WHATSAPP, "+5511900007777", "Paula", content["chatwoot"]["account_id"], 21)
    body = orjson.dumps(flat_message(writer, 899_999_999, 899_999_000_000 + number, f"{number}", datetime.now(UTC)))
    headers = signed_request(body, content["chatwoot"]["webhook_secret"], secrets.token_hex(8), int(time.time()))
    async with session.post(content["chatwoot"]["webhook_url"], data=body, headers=headers) as answer:
        return answer.status


async def _processed(session: aiohttp.ClientSession, url: str, begun: datetime) -> dict[str, str]:
    """By event, the message that it led to; once all events of the blocked conversation are done."""
    identity = {"source": "WHATSAPP", "external_id": "+5511900007777"}
    async with asyncio.timeout(LOOK_SECONDS):
        while True:
            async with session.get(f"{url}/api/v1/identities", params=identity) as answer:
                people = (await answer.json())["identities"]
            if people:
                query = {"contact_id": people[0]["contact_id"], "state": "PROCESSED", "start_time": begun.isoformat()}
                async with session.get(f"{url}/api/v1/webhook-events", params=query | {"page_size": "250"}) as answer:
                    events = (await answer.json())["webhook_events"]
                if len(events) == BLOCKED_EVENTS:
                    return {event["webhook_event_id"]: event["message_id"] for event in events}
            await asyncio.sleep(0.1)


async def _contacts(session: aiohttp.ClientSession, url: str) -> set[str]:
    async with session.get(f"{url}/api/v1/contacts?page_size=250") as answer:
        return {contact["contact_id"] for contact in (await answer.json())["contacts"]}
