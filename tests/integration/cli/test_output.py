"""What commands print where the terminal knows few characters, is narrow, or is a pipe that somebody closed."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from uuid import uuid4

import aiohttp
import pytest
from rich.cells import cell_len

from tests.integration.cli.operator import COMMAND_SECONDS, Operator
from tests.world import World

TARGETS = ("identity", "crm", "ingest", "gateway")
NAME = "Vinhos 🍇 Adega"
EVIL = "Loja \x1b[2J\x1b]0;owned\x07 \u202eoãçatneserpa"
ASCII = {"PYTHONIOENCODING": "ascii"}
LISTS: tuple[tuple[str, ...], ...] = (
    ("org", "list"),
    ("connection", "list"),
    ("events", "list"),
    ("status",),
    ("feed", "tail", "--after", "0", "--count", "3"),
)
MADE: dict[str, str] = {}
"""Organizations by database: a command takes a second, so what all tests look at is made once."""


async def given_organization(operator: Operator, name: str = NAME) -> str:
    """An organization with a connection, a channel and a key that are named alike; answers its id."""
    made = await operator.prosa("org", "create", "--name", name, "--admin", f"a{uuid4().hex}@adega.example", "--json")
    organization_id = str(made.document["organization_id"])
    org = ("--org", organization_id)
    for words in (
        ("connection", "create", "--name", name, "--account-id", "3"),
        ("channel", "create", "--connection", name, "--name", name, "--source", "whatsapp", "--inbox-id", "5"),
        ("api-key", "create", "--name", name, "--scope", "*"),
    ):
        assert (await operator.prosa(*words, *org)).code == 0
    return organization_id


@pytest.fixture
async def organization_id(operator: Operator, world: World) -> str:
    """The module's organization with an emoji, and a webhook that came for it."""
    if world.database_url not in MADE:
        made = await given_organization(operator)
        await given_event(world, operator, made)
        MADE[world.database_url] = made
    return MADE[world.database_url]


def about(words: tuple[str, ...], organization_id: str) -> tuple[str, ...]:
    """The words with the organization they are about, where they are about one."""
    return words if words[0] in ("org", "status") else (*words, "--org", organization_id)


@pytest.mark.case("F16")
@pytest.mark.parametrize("words", LISTS, ids=" ".join)
async def test_a_terminal_of_few_characters_gets_every_row(
    words: tuple[str, ...], operator: Operator, organization_id: str
) -> None:
    said = await operator.prosa(*about(words, organization_id), **ASCII)
    assert (said.code, said.err) == (0, "")
    assert said.out.isascii()
    if words[0] in ("org", "connection"):
        assert "Vinhos ? Adega" in said.out


@pytest.mark.case("F16")
async def test_a_name_is_replaced_for_people_and_escaped_for_programs(operator: Operator, organization_id: str) -> None:
    told = await operator.prosa("connection", "list", "--org", organization_id, "--json", **ASCII)
    assert told.out.isascii()
    assert [item["name"] for item in told.document["connections"]] == [NAME]
    refused = await operator.prosa("connection", "check", "--org", organization_id, "🍇", **ASCII)
    assert (refused.code, refused.err.isascii()) == (1, True)


@pytest.mark.case("F16")
async def test_a_name_gives_the_terminal_no_commands(operator: Operator) -> None:
    organization_id = await given_organization(operator, EVIL)
    for words in (("org", "list"), ("channel", "list")):
        said = await operator.prosa(*about(words, organization_id))
        assert not {"\x1b", "\x07", "\u202e"} & set(said.out + said.err), words
    wrong = await operator.prosa("channel", "list", "--org", organization_id, "--connection", "\x1b[2J")
    assert wrong.code == 1
    assert "\x1b" not in wrong.err


async def piped(operator: Operator, command: str, *words: str) -> tuple[int, int, str]:
    """`prosa words | command`: the two codes, and what stood on prosa's standard error."""
    read_end, write_end = os.pipe()
    reader = await asyncio.create_subprocess_exec(
        "sh", "-c", command, stdin=read_end, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(read_end)
    process = await operator.start(*words, output=write_end)
    os.close(write_end)
    try:
        async with asyncio.timeout(COMMAND_SECONDS):
            _, err = await process.communicate()
            read_code = await reader.wait()
    finally:
        for each in (process, reader):
            if each.returncode is None:
                each.kill()
                await each.wait()
    assert process.returncode is not None
    return process.returncode, read_code, err.decode()


@pytest.mark.case("F16")
@pytest.mark.parametrize(
    "words", [*LISTS, ("--help",), ("--version",), ("key", "whatsapp", "+5511900001111")], ids=" ".join
)
async def test_a_pipe_that_nobody_reads_ends_a_command_quietly(
    words: tuple[str, ...], operator: Operator, organization_id: str
) -> None:
    asked = words if words[0].startswith("-") or words[0] == "key" else about(words, organization_id)
    # `exec <&-` closes the pipe before anything is written into it.
    assert await piped(operator, "exec <&-", *asked) == (0, 0, "")


@pytest.mark.case("F16")
async def test_a_feed_ends_when_head_has_its_line_though_nothing_more_happens(
    operator: Operator, organization_id: str
) -> None:
    words = ("feed", "tail", "--after", "0", "--org", organization_id)
    assert await piped(operator, "head -n 1 >/dev/null", *words) == (0, 0, "")
    assert await piped(operator, "exec <&-", "feed", "tail", "--org", organization_id) == (0, 0, "")


@pytest.mark.case("F16")
async def test_a_refusal_keeps_its_code_though_nobody_reads_it(operator: Operator, organization_id: str) -> None:
    assert (await piped(operator, "exec <&-", "org", "list", "--no-such-option"))[0] == 2


async def given_event(world: World, operator: Operator, organization_id: str) -> None:
    """One webhook of Chatwoot, whatever becomes of it: it is listed."""
    told = await operator.prosa("connection", "list", "--org", organization_id, "--json")
    (connection,) = told.document["connections"]
    url = f"http://127.0.0.1:{world.host.http_port}{connection['webhook_path']}"
    body = {"event": "conversation_status_changed", "id": 1, "account": {"id": 3}, "inbox_id": 5}
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as answer:
        assert answer.status == 200


@pytest.mark.case("O14")
@pytest.mark.parametrize("words", [words for words in LISTS if words[0] != "feed"], ids=" ".join)
async def test_no_table_is_wider_than_the_terminal_and_no_word_of_it_is_broken(
    words: tuple[str, ...], operator: Operator, organization_id: str
) -> None:
    asked = about(words, organization_id)
    narrow = await operator.prosa(*asked, COLUMNS="80")
    assert max(cell_len(line) for line in narrow.out.splitlines()) <= 80
    wide = await operator.prosa(*asked, COLUMNS="300")
    # The same words, on more lines: none is cut, none is broken.
    assert sorted(narrow.out.replace("-", "").split()) == sorted(wide.out.replace("-", "").split())
    assert not re.search(r"[0-9]{2}:[0-9]{2}[.][0-9]", narrow.out), "a time is told to the second"


@pytest.mark.case("O14")
async def test_help_at_80_columns_breaks_no_name_and_calls_no_switch_a_bool(operator: Operator) -> None:
    for words in ((), ("channel", "update")):
        said = await operator.prosa(*words, "--help", COLUMNS="80")
        assert said.code == 0
        assert "<bool>" not in said.out
        assert max(map(len, said.out.splitlines())) <= 80
        for option in re.findall(r"--[a-z-]+", (await operator.prosa(*words, "--help", COLUMNS="200")).out):
            assert option in said.out
