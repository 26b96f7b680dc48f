"""What `prosa serve` says of settings that it cannot start with, and where printed addresses lead."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.integration.cli.operator import Operator
from tests.world import World

TARGETS = ("identity", "crm", "ingest", "gateway")


@pytest.mark.case("O11")
async def test_all_that_is_missing_is_told_at_once(operator: Operator, tmp_path: Path) -> None:
    nothing = await operator.prosa("serve", PROSA_KEYS_DIR=str(tmp_path / "none"), PROSA_HTTP_PORT="many")
    assert nothing.code == 2
    for name in ("KEYS_DIR", "HTTP_PORT", *(f"{each}_DATABASE_URL" for each in ("IDENTITY", "INGEST", "CRM"))):
        assert f"PROSA_{name}" in nothing.err, name
    assert nothing.err.count("Error:") == 1
    assert "docs/settings.md" in nothing.err
    empty = tmp_path / "empty"
    empty.mkdir()
    keys = await operator.prosa("serve", "--target", "gateway,ingest-accept", PROSA_KEYS_DIR=str(empty))
    assert keys.code == 2
    for name in ("gateway.key", "ingest.key", "encryption.json", "PROSA_INGEST_DATABASE_URL"):
        assert name in keys.err, name
    assert "PROSA_CRM" not in keys.err


@pytest.mark.case("O11")
@pytest.mark.parametrize(
    ("variable", "named"),
    [
        ("PROSA_GRPC_ADDRESS", "PROSA_GRPC_ADDRESS"),
        ("PROSA_HTTP_PORT", "PROSA_HTTP_HOST:PROSA_HTTP_PORT"),
        ("PROSA_METRICS_PORT", "PROSA_METRICS_HOST:PROSA_METRICS_PORT"),
    ],
)
async def test_an_address_that_is_taken_names_its_setting(
    variable: str, named: str, operator: Operator, world: World
) -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    free = {"PROSA_GRPC_ADDRESS": "127.0.0.1:0", "PROSA_HTTP_PORT": "0", "PROSA_METRICS_PORT": "0"}
    settings = free | {variable: f"127.0.0.1:{port}" if variable.endswith("ADDRESS") else str(port)}
    nats = world.settings.nats_url.get_secret_value()
    async with taken:
        said = await operator.prosa("serve", "--target", "gateway", PROSA_NATS_URL=nats, **settings)
    assert said.code == 2
    assert f"Error: {named} is 127.0.0.1:{port}, where nobody can listen" in said.err


@pytest.mark.case("O11")
async def test_printed_webhook_addresses_are_those_that_others_reach(operator: Operator) -> None:
    await operator.prosa("org", "create", "--name", "Loja", "--admin", "a@loja.example")
    words = ("connection", "create", "--account-id", "3")
    plain = await operator.prosa(*words, "--name", "Um")
    assert "set PROSA_PUBLIC_URL" in plain.out
    public = {"PROSA_PUBLIC_URL": "https://prosa.example.com/"}
    made = await operator.prosa(*words, "--name", "Dois", **public)
    assert "  webhook     https://prosa.example.com/webhooks/chatwoot/" in made.out
    assert "PROSA_PUBLIC_URL" not in made.out
    listed = await operator.prosa("connection", "list", **public)
    assert listed.out.count("https://prosa.example.com/webhooks/chatwoot/") == 2
    wrong = await operator.prosa("connection", "list", PROSA_PUBLIC_URL="prosa.example.com")
    assert wrong.code == 2
    assert "https://prosa.example.com" in wrong.err
