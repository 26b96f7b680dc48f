"""No service calls an address over HTTP but through the guard."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUARD = "chassis/outgoing.py"
MODULES = {
    *("httpx", "httpx2", "openai", "requests", "urllib.request", "urllib3", "http.client"),
    *("aiohttp.client", "aiohttp.connector"),
}
NAMES = {"ClientSession", "TCPConnector", "open_connection", "create_connection", "urlopen"}
BY_THE_GUARD = {"services/conversation/speaking/guarded.py", "services/conversation/speaking/model.py"}
"""Have another's client call by the guard: tests/integration/conversation/test_guarded_client.py."""
OURS = {"chassis", "migrate"}
"""Whose functions of these names open something else: a connection to the database of the installation."""
TO_OUR_OWN = {
    "embedded/nats.py",
    "embedded/redis.py",
    "embedded/suite.py",
}
"""Ask children of `prosa up`, on loopback ports of its own, whether they are ready."""


def calls_of(path: Path) -> set[str]:
    """What of a file could open a connection by itself."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in NAMES and ast.unparse(node.value) not in OURS:
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").partition(".")[0] not in OURS:
                found |= {alias.name for alias in node.names if alias.name in NAMES}
            found |= {node.module or ""} & MODULES
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & MODULES
    return found


@pytest.mark.case("S3")
def test_only_the_guard_opens_connections_to_what_others_name() -> None:
    files = [
        path for folder in ("chassis", "embedded", "gateway", "services") for path in (ROOT / folder).rglob("*.py")
    ]
    calling = {str(path.relative_to(ROOT)) for path in files if calls_of(path)}
    assert calling == {GUARD, *BY_THE_GUARD, *TO_OUR_OWN}
