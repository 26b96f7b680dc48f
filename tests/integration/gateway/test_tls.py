"""TLS on the public port, and who may do without it: a real process, certificates drawn here."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chassis import telemetry
from chassis.config import SettingRefused
from embedded.servers import EmbeddedServers
from gateway.listening.peers import Peers
from gateway.listening.tls import server_context
from tests.integration.gateway.fake_services import serve_gateway
from tests.world import World, settings_for, start_world


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost and its key."""
    directory, key = tmp_path_factory.mktemp("tls"), ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = directory / "certificate.pem", directory / "key.pem"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


@pytest.fixture
async def world(
    servers: EmbeddedServers, database_url: str, keys_dir: Path, certificate: tuple[Path, Path]
) -> AsyncIterator[World]:
    """A gateway with a certificate."""
    settings = settings_for(
        database_url,
        servers.nats_url,
        servers.redis_url,
        keys_dir,
        tls_certificate=certificate[0],
        tls_key=certificate[1],
    )
    running = await start_world(settings, database_url, ["gateway"])
    yield running
    await running.close()
    await running.host.stop()


@pytest.mark.case("S13")
async def test_a_gateway_with_a_certificate_speaks_https_and_nothing_else(
    world: World, certificate: tuple[Path, Path]
) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    url = f"localhost:{world.host.http_port}"
    async with aiohttp.ClientSession() as session:
        async with session.get(f"https://{url}/healthz", ssl=trusting) as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "ok"})
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"http://127.0.0.1:{world.host.http_port}/healthz")
    # One who connects and never shakes hands is a connection like any other, and holds nobody up.
    reader, writer = await asyncio.open_connection("127.0.0.1", world.host.http_port)
    async with aiohttp.ClientSession() as session, session.get(f"https://{url}/healthz", ssl=trusting) as answer:
        assert answer.status == 200
    writer.close()
    await writer.wait_closed()
    assert await reader.read() == b""
    old = ssl.create_default_context(cafile=str(certificate[0]))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with aiohttp.ClientSession() as session, session.get(f"https://{url}/healthz", ssl=old) as answer:
        assert answer.status == 200


@pytest.mark.case("S13")
def test_a_certificate_that_cannot_be_used_is_told_by_its_setting(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(SettingRefused, match="PROSA_TLS_KEY is not set"):
        server_context(certificate[0], None)
    with pytest.raises(SettingRefused, match="PROSA_TLS_CERTIFICATE is not set"):
        server_context(None, certificate[1])
    with pytest.raises(SettingRefused, match="No such file"):
        server_context(tmp_path / "none.pem", certificate[1])
    with pytest.raises(SettingRefused, match="cannot be used"):
        server_context(certificate[1], certificate[1])
    assert server_context(None, None) is None


@pytest.mark.case("S13")
@pytest.mark.parametrize(
    ("host", "proxies", "warned"),
    [("0.0.0.0", "", True), ("127.0.0.1", "", False), ("0.0.0.0", "192.0.2.7", False)],
)
async def test_keys_in_clear_are_warned_of(
    servers: EmbeddedServers, database_url: str, keys_dir: Path, host: str, proxies: str, warned: bool
) -> None:
    log = io.StringIO()
    telemetry.configure_logging("info", stream=log)
    settings = settings_for(
        database_url, servers.nats_url, servers.redis_url, keys_dir, http_host=host, trusted_proxies=proxies
    )
    try:
        running = await start_world(settings, database_url, ["gateway"])
        await running.close()
        await running.host.stop()
    finally:
        telemetry.configure_logging("error", stream=io.StringIO())
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    found = [line for line in lines if line["event"] == "plain_http"]
    assert bool(found) == warned
    if warned:
        assert "PROSA_TLS_CERTIFICATE" in found[0]["advice"]


@pytest.mark.case("S13")
async def test_nobody_passes_by_the_proxy_that_ends_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = Peers.trusting("192.0.2.0/24, 2001:db8::7")
    async with serve_gateway(peers=peers) as world:
        async with world.http.get("/healthz") as answer:
            assert answer.status == 200, "this machine may"
        # As if it came from elsewhere: only loopback is dialled here.
        monkeypatch.setattr(Peers, "near", lambda _self, address: False)
        for path in ("/healthz", "/api/v1/contacts", "/webhooks/chatwoot/a-key"):
            async with world.http.get(path, headers={"X-Forwarded-For": "127.0.0.1"}) as answer:
                assert answer.status in (403, 405)
                if answer.status == 403:
                    assert (await answer.json())["reason"] == "TLS_REQUIRED"


@pytest.mark.case("S13")
@pytest.mark.parametrize(
    ("address", "header", "client"),
    [
        ("198.51.100.9", "203.0.113.5", "198.51.100.9"),
        ("192.0.2.7", None, "192.0.2.7"),
        ("192.0.2.7", "203.0.113.5", "203.0.113.5"),
        ("192.0.2.7", "127.0.0.1, 203.0.113.5", "203.0.113.5"),
        ("192.0.2.7", "203.0.113.5, 192.0.2.8", "203.0.113.5"),
        ("::ffff:192.0.2.7", "2001:db8:1::1", "2001:db8:1::1"),
        ("192.0.2.7", "unknown", "192.0.2.7"),
        ("127.0.0.1", "203.0.113.5", "127.0.0.1"),
        (None, "203.0.113.5", None),
    ],
)
def test_a_trusted_proxy_says_for_whom_it_speaks_and_nobody_else(
    address: str | None, header: str | None, client: str | None
) -> None:
    assert Peers.trusting("192.0.2.0/24").client(address, header) == client


def test_what_is_no_network_is_told_by_its_setting() -> None:
    with pytest.raises(SettingRefused, match="proxy example"):
        Peers.trusting("192.0.2.7,proxy example")
    assert Peers.trusting("").proxies == ()
