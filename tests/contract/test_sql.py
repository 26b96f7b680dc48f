"""SQL stands in stores: in a service nothing else speaks to the database, in the chassis only what owns a table."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STATEMENT = re.compile(
    r"\s*(?:select\s.*\bfrom\b|insert\s+into\s|update\s+[\w.{}]+\s.*\bset\b|delete\s+from\s|with\s+\w+\s+as\s"
    r"|(?:create|alter|drop|truncate|lock)\s+(?:table|index|function|view)\s)",
    re.DOTALL,
)
CALLS = {"execute", "executemany", "fetch_one"}
OWN_TABLES = {
    "chassis/alembic_environment/env.py",
    "chassis/consumer.py",
    "chassis/database_trouble.py",
    "chassis/db.py",
    "chassis/descent.py",
    "embedded/postgres.py",
    "chassis/idempotency.py",
    "chassis/installation.py",
    "chassis/keys.py",
    "chassis/leases.py",
    "chassis/lost_keys.py",
    "chassis/migrate.py",
    "chassis/migrations.py",
    "chassis/outbox.py",
    "chassis/pool.py",
    "chassis/process.py",
    "chassis/profiles.py",
    "chassis/redirects.py",
    "chassis/relay.py",
    "chassis/statements.py",
    "chassis/upkeep.py",
    "chassis/upkeep_functions.py",
}
"""Of the chassis: each keeps one of its tables, asks the server of itself, or is what statements go through."""


def is_a_store(path: str) -> bool:
    """Whether a file of a service is where SQL belongs."""
    return path.endswith(("/store.py", "_store.py")) or "/migrations/" in path


def sql_in(tree: ast.AST) -> Iterator[int]:
    """The lines where something speaks SQL: a statement as text, or a call that runs one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and STATEMENT.match(node.value):
            yield node.lineno
        elif isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
            if STATEMENT.match(text):
                yield node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLS:
            yield node.lineno


def test_services_and_gateway_speak_sql_in_stores_alone() -> None:
    found = []
    for folder in ("services", "gateway"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if not is_a_store(name):
                found += [f"{name}:{line}" for line in sql_in(ast.parse(path.read_text(encoding="utf-8")))]
    assert not found, "SQL belongs into store.py or …_store.py; every function there takes the transaction first."


def test_the_chassis_speaks_sql_where_it_owns_a_table() -> None:
    speaking = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "chassis").rglob("*.py")
        if any(sql_in(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert {path for path in speaking if not path.startswith(("chassis/queues/", "chassis/tables/"))} <= OWN_TABLES


def test_services_leave_constraints_to_the_chassis() -> None:
    reading = ("IntegrityError", "UniqueViolation", "constraint_name", "sqlstate")
    found = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "services").rglob("*.py"))
        if any(word in path.read_text(encoding="utf-8") for word in reading)
    ]
    assert not found, "What runs against a constraint is refused by chassis.db.refused_by."


@pytest.mark.parametrize(
    "code",
    [
        'await tx.execute(QUERY, {"a": 1})',
        "QUERY = 'select 1 as one from crm.deals'",
        "QUERY = f'update {schema}.deals set state = 1'",
        "QUERY = '''\\n  with found as (\\n select 1) insert into x select 1'''",
    ],
)
def test_sql_is_seen_however_it_is_said(code: str) -> None:
    lines = f"async def use(tx):\n    {code}"
    assert list(sql_in(ast.parse(lines)))


def test_a_sentence_is_no_statement() -> None:
    code = "MESSAGES = ['Select a board from the list.', 'with one deal as before', 'Update the card, set it aside.']"
    assert not list(sql_in(ast.parse(code)))
