"""Commands without --org, in an installation with no organization, with one, and with two."""

from __future__ import annotations

from tests.integration.cli.operator import Operator
from tests.world import World, reader_url

FEW: tuple[tuple[str, ...], ...] = (("connection", "list"), ("sql", "links"))
"""One that asks the services, and one that asks the database."""
COMMANDS = (
    *FEW,
    ("channel", "list"),
    ("api-key", "list"),
    ("events", "list"),
    ("events", "replay", "--since", "10m", "--dry-run"),
    ("feed", "tail", "--after", "0", "--count", "1", "--type", "OrganizationCreated"),
    ("smoke", "verify"),
)


async def test_the_only_organization_need_not_be_named_and_several_are_told(operator: Operator, world: World) -> None:
    reader = {"PROSA_READER_DATABASE_URL": reader_url(world.database_url)}
    for words in FEW:
        nothing = await operator.prosa(*words, **reader)
        assert nothing.code != 0, words
        assert "There is no organization yet. Make one with `prosa org create`." in nothing.err
    await operator.prosa("org", "create", "--name", "Oficina Sol", "--admin", "eva@oficina-sol.example")
    for words in COMMANDS:
        only = await operator.prosa(*words, **reader)
        assert (only.code, only.err) == (0, ""), words
    await operator.prosa("org", "create", "--name", "Oficina Mar", "--admin", "rui@oficina-mar.example")
    for words in FEW:
        several = await operator.prosa(*words, **reader)
        assert several.code == 2, words
        assert (
            "There are 2 organizations: 'Oficina Mar', 'Oficina Sol'. Name the one you mean with --org." in several.err
        )
