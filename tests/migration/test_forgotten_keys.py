"""`prosa keys forget`: an old key leaves, and one that is lost takes with it what it sealed, and nothing else."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import psycopg
import pytest
import pytest_asyncio
from sqlalchemy.engine import make_url

from chassis import crypto, keys, migrate
from chassis.crypto import Vault
from embedded.servers import embedded_servers
from tests.isolation.filling import named_url
from tests.unit.cli.running import document, prosa

pytestmark = pytest.mark.case("S6")

ORGANIZATION = uuid4()
OLD, NEW = "k0ld", "k2new"


@dataclass(frozen=True, slots=True)
class Hosted:
    """One database, as its owner and as a superuser reaches it."""

    url: str
    as_superuser: str


@pytest.fixture
def keys_dir(tmp_path: Path) -> Path:
    """A key file with an old key and the one that seals now."""
    content = {"current": NEW, "keys": {OLD: _drawn(1), NEW: _drawn(2)}}
    crypto.write_whole(tmp_path / crypto.KEY_FILE, orjson.dumps(content))
    return tmp_path


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hosted(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hosted]:
    """A migrated database whose owner is no superuser: forced row-level security binds whoever forgets a key."""
    async with embedded_servers(tmp_path_factory.mktemp("hosted"), durable=False) as fresh:
        with _connected(fresh.database_url) as admin:
            admin.execute("create role hosted_admin login createrole nosuperuser password 'hosted'")
            admin.execute("create database hosted owner hosted_admin")
        as_superuser = named_url(fresh.database_url, "hosted")
        as_owner = make_url(as_superuser).set(username="hosted_admin", password="hosted")
        url = as_owner.render_as_string(hide_password=False)
        await asyncio.to_thread(migrate.create_roles, url, {})
        await asyncio.to_thread(migrate.migrate_up, url)
        yield Hosted(url, as_superuser)


@pytest.fixture
def url(hosted: Hosted, keys_dir: Path) -> str:
    """The database with secrets under both keys, as its owner reaches it."""
    with _connected(hosted.as_superuser) as admin:
        admin.execute("truncate ingest.connection_secrets, ingest.connections cascade")
        admin.execute("truncate identity.key_fingerprints, ingest.key_fingerprints")
        _fill(admin, keys_dir)
    return hosted.url


def test_a_key_in_use_stays(url: str, keys_dir: Path) -> None:
    refused = _forget(url, keys_dir, OLD)
    assert refused["error"]["reason"] == "KEY_IN_USE"
    assert "ingest.connection_secrets.secret_sealed (2)" in refused["error"]["message"]
    assert OLD in keys.known_key_ids(url)
    assert crypto.read_key_ids(keys_dir) == {OLD, NEW}


def test_the_key_that_seals_now_stays(url: str, keys_dir: Path) -> None:
    assert _forget(url, keys_dir, NEW, "--lost", "--yes")["error"]["reason"] == "KEY_CURRENT"


def test_a_key_of_another_installation_is_named_as_such(url: str, keys_dir: Path) -> None:
    assert _forget(url, keys_dir, "k7other")["error"]["reason"] == "KEY_UNKNOWN"


def test_nothing_is_deleted_without_a_yes(url: str, keys_dir: Path) -> None:
    assert _forget(url, keys_dir, OLD, "--lost")["error"]["reason"] == "NOT_CONFIRMED"
    assert OLD in keys.known_key_ids(url)


def test_a_lost_key_takes_what_it_sealed_and_opens_no_way_in(hosted: Hosted, url: str, keys_dir: Path) -> None:
    (keys_dir / crypto.KEY_FILE).unlink()
    before = {row["name"]: row for row in _connections(hosted.as_superuser)}
    answered = _forget(url, keys_dir, OLD, "--lost", "--yes")
    assert {found["column"]: found["count"] for found in answered["deleted"]} == {
        "ingest.connection_secrets.secret_sealed": 2,
        "ingest.connections.access_token_sealed": 1,
    }
    after = {row["name"]: row for row in _connections(hosted.as_superuser)}
    assert {name: (row["secrets"], row["token"]) for name, row in after.items()} == {
        "old alone": (0, False),
        "both": (1, False),
        "new alone": (1, True),
    }
    # Without a secret it would take what nobody signed for as long as a new connection does.
    assert before["old alone"]["open"]
    assert not after["old alone"]["open"]
    assert after["new alone"]["open"]
    assert keys.known_key_ids(url) == {NEW}
    with pytest.raises(keys.KeysLost, match=NEW):
        keys.create_keys(keys_dir, url)
    _forget(url, keys_dir, NEW, "--lost", "--yes")
    keys.create_keys(keys_dir, url)
    assert crypto.read_key_ids(keys_dir)


def test_an_old_key_that_seals_nothing_leaves_file_and_database(hosted: Hosted, url: str, keys_dir: Path) -> None:
    with _connected(hosted.as_superuser) as admin:
        admin.execute(
            "delete from ingest.connection_secrets where position(%s::bytea in secret_sealed) = 1", [b"k0ld:"]
        )
        admin.execute("update ingest.connections set access_token_sealed = null where name = 'both'")
    assert _forget(url, keys_dir, OLD) == {"key_id": OLD, "deleted": []}
    assert keys.known_key_ids(url) == {NEW}
    assert crypto.read_key_ids(keys_dir) == {NEW}
    assert (keys_dir / crypto.KEY_FILE).stat().st_mode & 0o777 == 0o600


def _forget(url: str, keys_dir: Path, *words: str) -> Any:
    result = prosa(
        *("keys", "forget", *words, "--directory", str(keys_dir), "--json"), environment={"PROSA_DATABASE_URL": url}
    )
    found = document(result)
    assert (result.exit_code != 0) == ("error" in found), result.output
    return found


def _fill(admin: psycopg.Connection, keys_dir: Path) -> None:
    content = orjson.loads((keys_dir / crypto.KEY_FILE).read_bytes())
    opened = {key_id: base64.b64decode(value) for key_id, value in content["keys"].items()}
    vaults = {key_id: Vault(opened, key_id) for key_id in (OLD, NEW)}
    for name, secrets, token in (("old alone", [OLD], ""), ("both", [OLD, NEW], OLD), ("new alone", [NEW], NEW)):
        connection_id = uuid4()
        admin.execute(
            "insert into ingest.connections (id, organization_id, provider, name, connection_key, account_id, base_url,"
            " access_token_sealed, unsigned_end_time, create_time) values (%s, %s, 'CHATWOOT', %s, %s, 1, '', %s,"
            " now() + interval '9 days', now())",
            [connection_id, ORGANIZATION, name, name, _sealed(vaults[token], ORGANIZATION) if token else None],
        )
        for key_id in secrets:
            admin.execute(
                "insert into ingest.connection_secrets (id, organization_id, connection_id, secret_sealed, create_time)"
                " values (%s, %s, %s, %s, now())",
                [uuid4(), ORGANIZATION, connection_id, _sealed(vaults[key_id], ORGANIZATION)],
            )
    for service in ("identity", "ingest"):
        for key_id, fingerprint in vaults[NEW].fingerprints.items():
            admin.execute(
                f"insert into {service}.key_fingerprints (key_id, fingerprint, create_time)"
                " values (%s, %s, now())".encode(),
                [key_id, fingerprint],
            )


def _sealed(vault: Vault, organization_id: UUID) -> bytes:
    return vault.seal(b"secret", organization_id=organization_id, column="secret")


def _connections(as_superuser: str) -> list[dict[str, Any]]:
    with _connected(as_superuser) as admin:
        cursor = admin.execute(
            "select name, access_token_sealed is not null as token, unsigned_end_time > now() as open, (select count(*)"
            " from ingest.connection_secrets s where s.connection_id = c.id) as secrets from ingest.connections c"
        )
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor]


def _connected(url: str) -> psycopg.Connection:
    return psycopg.connect(keys.plain_url(url), autocommit=True)


def _drawn(seed: int) -> str:
    return base64.b64encode(bytes([seed]) * 32).decode()
