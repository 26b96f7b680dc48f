"""Nothing of one client stands in code or templates: neither its id, nor its name, nor a host of its own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

import pytest

from tests.contract.reasons import ROOT

FOLDERS = ("chassis", "cli", "dashboard/src", "deploy", "embedded", "gateway", "protos", "services", "tools")
KINDS = frozenset({".py", ".json", ".ts", ".tsx", ".yaml", ".tpl", ".proto", ".html", ".css", ".service", ".txt", ""})
ASIDE = ("dashboard/src/gen/", "gateway/pages/dashboard/", "/fixtures/", "node_modules")
"""What is generated or built, and recorded bodies of invented people."""
_UUID = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE)
_HOST = re.compile(r"(?:https?|wss?|amqp|redis|postgresql)://(?:[^\s/@\"'{}]+@)?([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)")
_WORD = re.compile(r"[a-z]{5,}")

UUIDS = {
    "00000000-0000-0000-0000-000000000000": "before every id",
    "ffffffff-ffff-ffff-ffff-ffffffffffff": "behind every id",
    "0198c0de-7a11-7cc3-98c4-dc0c0c07398f": "the id of examples",
    "01890a5d-ac96-774b-bcce-b302099a8057": "what an id looks like, in an error",
    "6f1f2a52-6a0b-5b5e-9a55-2a3c3d1d7d0e": "the namespace of Idempotency-Key",
    "5f0c4f0e-8a52-4d2e-9a3f-0d7c5e1b2a64": "n8n's own id of the template's webhook",
}
VENDORS = {
    "api.openai.com": "where models are, unless settings say otherwise",
    "json-schema.org": "names a format",
}
RESERVED = re.compile(
    r"(?:^|\.)(?:example|invalid|test|localhost|internal)$|(?:^|\.)example\.(?:com|org|net)$|^127\.|^10\.|^0\.0\."
)
"""Names that belong to nobody (RFC 2606), this machine, and private networks."""
NAMES = frozenset(
    {
        *("e414971ec0a57584", "55252b502d75db6e", "0e3e156eb504adaa", "d3b1c76e8960f4cc"),
    }
)
"""Words of clients' names that flows of before had in them, as hashes: they stand nowhere here."""


def files() -> Iterator[tuple[str, str]]:
    """Every file of code and every template, with its text."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if path.is_file() and path.suffix in KINDS and not any(part in name for part in ASIDE):
                yield name, path.read_text(encoding="utf-8", errors="replace")


def hashed(word: str) -> str:
    """A word as it is kept in NAMES."""
    return hashlib.sha256(word.encode()).hexdigest()[:16]


def found(text: str) -> set[str]:
    """What of a text belongs to one client."""
    ids = {uuid.lower() for uuid in _UUID.findall(text)} - UUIDS.keys()
    hosts = {host.lower() for host in _HOST.findall(text) if not RESERVED.search(host.lower())} - VENDORS.keys()
    names = {word for word in set(_WORD.findall(text.lower())) if hashed(word) in NAMES}
    return ids | hosts | names


@pytest.mark.req("ID-21")
def test_no_id_name_or_host_of_a_client_stands_in_code_or_templates() -> None:
    looked = list(files())
    assert len(looked) > 400
    assert {name: what for name, text in looked if (what := found(text))} == {}


@pytest.mark.parametrize(
    "text",
    [
        "ORGANIZATION = '4f9d8a1e-2b3c-4d5e-8f60-718293a4b5c6'",
        'url: "https://crm.padaria-aurora.com.br/api"',
        "redis://:secret@cache.cliente.io:6379/0",
    ],
)
def test_what_belongs_to_one_client_is_seen(text: str) -> None:
    assert found(text)


@pytest.mark.parametrize(
    "text", ["https://chat.example.com", "http://127.0.0.1:8080", "https://prosa.invalid", *UUIDS, "http://10.0.0.1"]
)
def test_what_belongs_to_nobody_is_none_of_it(text: str) -> None:
    assert found(text) == set()


def test_a_name_is_known_by_its_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.contract.test_no_client.NAMES", {hashed("padaria")})
    assert found('TITLE = "Painel da Padaria Aurora"') == {"padaria"}
