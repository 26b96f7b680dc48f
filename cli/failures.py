"""How a command ends: a result and 0, or one clear sentence and another code; a stack trace only for our own errors."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NoReturn, ParamSpec

import typer

from cli.output import print_error

RED = 1
REFUSED = 2
_DRIVER = re.compile(r"^\(psycopg\.[\w.]+\) ")

P = ParamSpec("P")


class Refused(Exception):
    """A command that cannot do what it was asked; the message says what to do about it."""

    def __init__(self, message: str, *, reason: str = "COMMAND_REFUSED", exit_code: int = RED) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.exit_code = exit_code


def operation(function: Callable[P, Awaitable[None] | None]) -> Callable[P, None]:
    """Makes a command of a function, plain or async: errors that an operator may meet become a sentence and a code."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        as_json = bool(kwargs.get("as_json", False))
        try:
            outcome = function(*args, **kwargs)
            if inspect.iscoroutine(outcome):
                asyncio.run(outcome)
        except (Refused, OSError, ValueError) as error:
            end(error, as_json=as_json)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except Exception as error:
            if not _understood(error):
                raise
            end(error, as_json=as_json)

    return run


@contextlib.contextmanager
def database_of(url: str, variable: str) -> Iterator[None]:
    """Says of a database that cannot be worked with which of all that can be wrong it is; `variable` named it."""
    import psycopg
    from sqlalchemy.exc import DBAPIError

    from chassis.database_trouble import UNMIGRATED_STATES, Target, why_not_connected

    try:
        yield
    except (psycopg.Error, DBAPIError) as error:
        cause: Any = error.orig if isinstance(error, DBAPIError) else error
        state = getattr(cause, "sqlstate", None)
        if isinstance(cause, psycopg.OperationalError) and state is None:
            trouble = why_not_connected(cause, Target.of(url, variable))
            raise Refused(trouble.sentence, reason=trouble.reason) from error
        if state in UNMIGRATED_STATES:
            raise Refused(
                f"The database of {variable} has not been migrated, or lacks rights ({_first_line(cause)}). Run `prosa"
                " migrate`.",
                reason="SCHEMA_MISSING",
            ) from error
        raise


def end(error: Exception, *, as_json: bool) -> NoReturn:
    """Prints the error's sentence and leaves with its code."""
    reason, message, exit_code = describe(error)
    print_error(reason, message, as_json=as_json)
    raise typer.Exit(exit_code)


def describe(error: Exception) -> tuple[str, str, int]:
    """The reason for programs, the sentence for people and the exit code."""
    # Imported here: most commands never meet these, and gRPC alone takes a third of a second to load.
    from chassis.config import SettingRefused
    from chassis.database_trouble import SchemaNewer
    from chassis.errors import ProsaError
    from embedded.errors import EmbeddedError

    if isinstance(error, SchemaNewer):
        return "SCHEMA_NEWER", str(error), RED
    if isinstance(error, Refused):
        return error.reason, error.message, error.exit_code
    if isinstance(error, (EmbeddedError, SettingRefused)):
        return error.reason, error.message, REFUSED
    if isinstance(error, ProsaError):
        return error.reason, error.message, RED
    if (call := _call_error(error)) is not None:
        return call.reason, _in_words_of_the_command(call.message), _code_of(call)
    if _is_database_error(error):
        return (
            "DATABASE_REFUSED",
            # SQLAlchemy puts the driver's class before the driver's words.
            f"The database refused: {_DRIVER.sub('', _first_line(error))}. Look at its URL and whether it runs.",
            RED,
        )
    if (invalid := _invalid_settings(error)) is not None:
        return "SETTINGS_INVALID", invalid, REFUSED
    return "COMMAND_FAILED", f"{_first_line(error) or type(error).__name__}.", RED


_WORDS = {
    "access_token": "PROSA_CHATWOOT_ACCESS_TOKEN (of a number PROSA_EVOLUTION_KEY)",
    "webhook_secret": "PROSA_WEBHOOK_SECRET",
    "admin_email": "--admin",
    "admin_password": "the owner's password",
    "unsigned_end_time": "--unsigned-until",
    "account_id": "--account-id",
    "base_url": "--base-url",
    "time_zone": "--time-zone",
}
"""What a field of the API is on the command line."""


def _in_words_of_the_command(message: str) -> str:
    return re.sub(r"\w+", lambda word: _WORDS.get(word.group(), word.group()), message)


def _code_of(error: Any) -> int:
    """A service that cannot take a value as it is written has begun nothing."""
    from chassis.errors import InvalidArgument

    return REFUSED if isinstance(error, InvalidArgument) else RED


def _understood(error: Exception) -> bool:
    from chassis.database_trouble import SchemaNewer
    from chassis.errors import ProsaError
    from embedded.errors import EmbeddedError

    known = isinstance(error, (EmbeddedError, ProsaError, SchemaNewer)) or _is_database_error(error)
    return known or _call_error(error) is not None or type(error).__module__.startswith("aiohttp")


def _call_error(error: Exception) -> Any:
    import grpc.aio

    from chassis import rpc

    return rpc.error_of(error) if isinstance(error, grpc.aio.AioRpcError) else None


def _is_database_error(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in ("psycopg", "sqlalchemy")


def _invalid_settings(error: Exception) -> str | None:
    from pydantic import ValidationError

    return " ".join(invalid_settings(error)) if isinstance(error, ValidationError) else None


def invalid_settings(error: Any) -> list[str]:
    """A sentence for each variable that pydantic refuses."""
    problems = []
    for problem in error.errors():
        name = "_".join(str(part) for part in problem["loc"]).upper()
        said = str(problem["msg"]).removeprefix("Value error, ")
        text = f"PROSA_{name}: {said}" if name else said
        problems.append(text if text.endswith(".") else f"{text}.")
    return problems


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
