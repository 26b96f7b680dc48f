"""Before something is lost: is anybody at work, and does whoever asked for it know?"""

from __future__ import annotations

import sys

import typer

from chassis import descent
from cli.failures import REFUSED, Refused
from cli.output import number_of


def confirm() -> None:
    """Asks on the terminal whether to go on. Raises Refused where the answer is no, or where there is no terminal."""
    if not sys.stdin.isatty():
        raise Refused(
            "There is no terminal to ask on. Say --yes to go on; nothing was changed.",
            reason="NOT_CONFIRMED",
            exit_code=REFUSED,
        )
    if not typer.confirm("Go on?", err=True):
        raise Refused("Nothing was changed.", reason="NOT_CONFIRMED", exit_code=REFUSED)


def require_nobody_at_work(database_url: str) -> None:
    """Raises Refused where processes of ours have sessions in the database."""
    if found := descent.sessions(database_url):
        listed = ", ".join(f"{session.role} ({number_of(session.count, 'session')})" for session in found)
        raise Refused(
            f"Services are at work on this database: {listed}. Stop every `prosa serve` and `prosa up` on it first; "
            "nothing was changed.",
            reason="SERVICES_RUNNING",
            exit_code=REFUSED,
        )
