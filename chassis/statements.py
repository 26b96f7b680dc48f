"""Statements on one connection: each is planned once, prepared once, and sent and answered in binary.

psycopg's cursor looks at a statement anew every time it runs and keeps nothing it learnt of its parameters. Ours are a
few hundred texts that run for ever, so what is learnt is kept; that halves what a statement costs besides its work.
"""

from __future__ import annotations

import re
from collections import Counter, namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import psycopg
from psycopg import generators, pq
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq.abc import PGresult

PLANS_CACHED_MAX = 4_096
PREPARED_MAX = 400
"""What a connection prepares at most: a server keeps each until the connection ends."""
SHAPES_CACHED_MAX = 1_024

_PARAMETER = re.compile(r"%\((\w+)\)([sb])|%%")
_FORMATS = {"s": PyFormat.AUTO, "b": PyFormat.BINARY}
_DONE = frozenset({pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK, pq.ExecStatus.EMPTY_QUERY})

_Key = tuple[str, tuple[int, ...]]
"""A statement and the types of its parameters: the same text may be given a short number or a long one."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """A statement as PostgreSQL takes it, and the names of its parameters in their order."""

    text: bytes
    names: tuple[str, ...]
    formats: Sequence[PyFormat]


@lru_cache(maxsize=PLANS_CACHED_MAX)
def _plan(statement: str) -> _Plan:
    formats: dict[str, PyFormat] = {}

    def numbered(found: re.Match[str]) -> str:
        name, form = found.groups()
        if name is None:
            return "%"
        if formats.setdefault(name, _FORMATS[form]) is not _FORMATS[form]:
            raise ValueError(f"%({name}) is wanted as text and as binary.")
        return f"${list(formats).index(name) + 1}"

    text = _PARAMETER.sub(numbered, statement).encode()
    return _Plan(text, tuple(formats), list(formats.values()))


class Statements:
    """Runs statements on a connection, one after the other, each awaited before the next."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._pgconn = connection.pgconn
        self._wait = connection.wait
        self._transformer = Transformer(connection)
        self._prepare_after = connection.prepare_threshold
        self._prepared: dict[_Key, bytes] = {}
        self._seen: Counter[_Key] = Counter()

    async def run(self, statement: str, parameters: Mapping[str, Any] | None) -> tuple[Sequence[Any], int]:
        """The rows that a statement answers, and how many it answers or writes. Raises psycopg.Error.

        Rows are tuples that know their columns' names; a name that comes twice is known by its place alone.
        """
        pgconn, transformer = self._pgconn, self._transformer
        plan = _plan(statement)
        given = [(parameters or {})[name] for name in plan.names]
        values = transformer.dump_sequence(given, plan.formats)
        types, formats = transformer.types or (), transformer.formats
        name = None if self._prepare_after is None else await self._prepare((statement, types), plan)
        if name is None:
            pgconn.send_query_params(plan.text, values, types, formats, pq.Format.BINARY)
        else:
            pgconn.send_query_prepared(name, values, formats, pq.Format.BINARY)
        try:
            result = await self._result()
        except psycopg.errors.FeatureNotSupported:
            if name is not None:
                # A migration changed the columns it answers: the server refuses it for as long as the connection lasts.
                pgconn.finish()
            raise
        if not result.nfields:
            return (), result.command_tuples or 0
        transformer.set_pgresult(result)
        return transformer.load_rows(0, result.ntuples, _row_maker(result)), result.ntuples

    async def command(self, text: bytes) -> str:
        """Runs one or more statements without parameters in one trip; answers the last one's tag. Raises psycopg.Error.

        Where nothing is bound, PostgreSQL takes several statements as one text.
        """
        self._pgconn.send_query(text)
        return ((await self._result()).command_status or b"").decode()

    async def _prepare(self, key: _Key, plan: _Plan) -> bytes | None:
        """The name under which the server knows the statement; None while it is too seldom to be worth one."""
        name = self._prepared.get(key)
        if name is None and len(self._prepared) < PREPARED_MAX:
            self._seen[key] += 1
            if self._seen[key] > (self._prepare_after or 0):
                name = f"prosa_{len(self._prepared)}".encode()
                self._pgconn.send_prepare(name, plan.text, key[1])
                await self._result()
                self._prepared[key] = name
        return name

    async def _result(self) -> PGresult:
        """The last of what the server answers."""
        results: list[PGresult] = await self._wait(generators.execute(self._pgconn))
        for result in results:
            if result.status not in _DONE:
                raise error_from_result(result)
        return results[-1]


def _row_maker(result: PGresult) -> Callable[[Sequence[Any]], Any]:
    # The class's own way of making one would be a step in Python for each row.
    return partial(tuple.__new__, _shape(tuple(map(result.fname, range(result.nfields)))))


@lru_cache(maxsize=SHAPES_CACHED_MAX)
def _shape(names: tuple[bytes | None, ...]) -> Any:
    return namedtuple("Row", [(name or b"").decode() for name in names], rename=True)  # noqa: PYI024 its fields are known when it runs only
