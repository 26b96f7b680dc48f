"""What an error of the driver means to who called: try again, mend the request, or find our own fault."""

from __future__ import annotations

import psycopg
import pytest

from chassis.db import translate
from chassis.errors import Aborted, InvalidArgument, Unavailable


@pytest.mark.parametrize("fault", [psycopg.ProgrammingError, psycopg.InterfaceError, psycopg.NotSupportedError])
def test_a_fault_of_ours_is_not_taken_for_a_database_that_is_away(fault: type[psycopg.Error]) -> None:
    assert translate(fault("the query has 1 placeholder but 2 parameters were passed")) is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (psycopg.OperationalError("the connection is closed"), Unavailable),
        (psycopg.errors.ConnectionTimeout("connection timeout expired"), Unavailable),
        (psycopg.errors.AdminShutdown(), Unavailable),
        (ConnectionResetError(), Unavailable),
        (psycopg.errors.DeadlockDetected(), Aborted),
        (psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"), InvalidArgument),
    ],
)
def test_what_is_lost_in_the_way_or_unstorable_is_told_apart(error: BaseException, kind: type[Exception]) -> None:
    assert type(translate(error)) is kind


def test_a_statement_that_postgres_refuses_is_a_fault_of_ours() -> None:
    assert translate(psycopg.errors.UndefinedTable()) is None
