"""Which thing a command is about: the one that is named, by id or name, or the only one there is."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from cli.failures import RED, REFUSED, Refused

NAMES_MAX = 10
"""A sentence names so many; the noun's own list has them all."""

Org = Annotated[
    str,
    # Not a default of the function: what stands behind it there may have none.
    typer.Option(
        "--org", help="The organization's id or name.", default_factory=str, show_default="the only one there is"
    ),
]
Named = tuple[str, str]
"""A thing's id and name."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is chosen among, as sentences say it."""

    word: str
    named_by: str
    """How the command line names one."""
    made_by: str
    listed_by: str

    @property
    def reason(self) -> str:
        """What reasons of this kind begin with."""
        return self.word.upper().replace(" ", "_")


ORGANIZATION = Kind("organization", " with --org", "prosa org create", "prosa org list")


def choose(
    wanted: str,
    there_are: Sequence[Named],
    *,
    kind: Kind = ORGANIZATION,
    exit_code: int = RED,
    aside: Collection[str] = (),
) -> str:
    """The id of the thing with this id or name; without either, of the only one. Raises Refused naming what there is.

    Names match whatever their case. The ids in `aside` are chosen unnamed only where there is nothing else.
    """
    if not there_are:
        raise Refused(
            f"There is no {kind.word} yet. Make one with `{kind.made_by}`.",
            reason=f"{kind.reason}_NOT_FOUND",
            exit_code=exit_code,
        )
    if not wanted:
        usual = [named for named in there_are if named[0] not in aside] or there_are
        if len(usual) == 1:
            return usual[0][0]
        raise Refused(
            f"There are {len(usual)} {kind.word}s: {_names(usual, kind)}. Name the one you mean{kind.named_by}.",
            reason=f"{kind.reason}_UNNAMED",
            exit_code=REFUSED,
        )
    matching = match(wanted, there_are)
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise Refused(
            f"Several {kind.word}s are named {wanted!r}; use one of the ids {', '.join(matching[:NAMES_MAX])}.",
            reason=f"{kind.reason}_AMBIGUOUS",
            exit_code=exit_code,
        )
    raise Refused(
        f"There is no {kind.word} {wanted!r}. There is: {_names(there_are, kind)}.",
        reason=f"{kind.reason}_NOT_FOUND",
        exit_code=exit_code,
    )


def match(wanted: str, there_are: Sequence[Named]) -> list[str]:
    """The ids that are meant: an id first, then a name as it is written, then one that differs by its case alone."""
    for same in (
        lambda identity, _: wanted.strip().lower() == identity,
        lambda _, name: wanted == name,
        lambda _, name: folded(wanted) == folded(name),
    ):
        if found := [identity for identity, name in there_are if same(identity, name)]:
            return found
    return []


def folded(name: str) -> str:
    """A name without its case, and with one writing of its accents: a keyboard may write them in two ways."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip()


def _names(there_are: Sequence[Named], kind: Kind) -> str:
    names = ", ".join(repr(name) for _, name in there_are[:NAMES_MAX])
    more = len(there_are) - NAMES_MAX
    return f"{names} and {more} more (`{kind.listed_by}`)" if more > 0 else names
