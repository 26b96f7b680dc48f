"""Which organization a command is about: the one that --org names, or the only one there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from cli.failures import RED, REFUSED, Refused

NAMES_MAX = 10
"""A sentence names so many organizations; `prosa org list` has them all."""

Org = Annotated[
    str,
    # Not a default of the function: what stands behind it there may have none.
    typer.Option(
        "--org", help="The organization's id or name.", default_factory=str, show_default="the only one there is"
    ),
]
Named = tuple[str, str]
"""An organization's id and name."""


def choose(wanted: str, there_are: Sequence[Named], *, exit_code: int = RED) -> str:
    """The id of the organization with this id or name; without either, of the only one. Raises Refused naming them."""
    matching = [identity for identity, name in there_are if not wanted or wanted.lower() == identity or wanted == name]
    if len(matching) == 1:
        return matching[0]
    if not there_are:
        raise Refused(
            "There is no organization yet. Make one with `prosa org create`.",
            reason="ORGANIZATION_NOT_FOUND",
            exit_code=exit_code,
        )
    if not wanted:
        raise Refused(
            f"There are {len(there_are)} organizations: {_names(there_are)}. Name the one you mean with --org.",
            reason="ORGANIZATION_UNNAMED",
            exit_code=REFUSED,
        )
    if matching:
        raise Refused(
            f"Several organizations are named {wanted!r}; use one of the ids {', '.join(matching)}.",
            reason="ORGANIZATION_AMBIGUOUS",
            exit_code=exit_code,
        )
    raise Refused(
        f"There is no organization {wanted!r}. There is: {_names(there_are)}.",
        reason="ORGANIZATION_NOT_FOUND",
        exit_code=exit_code,
    )


def _names(there_are: Sequence[Named]) -> str:
    names = ", ".join(repr(name) for _, name in there_are[:NAMES_MAX])
    more = len(there_are) - NAMES_MAX
    return f"{names} and {more} more (`prosa org list`)" if more > 0 else names
