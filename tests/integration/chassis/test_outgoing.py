"""Calls to addresses that somebody else gave, against listeners on loopback.

127.0.0.2 stands for the internet here and 127.0.0.1 for the private network.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from chassis.addresses import AllowedHosts
from chassis.outgoing import HEADERS_MAX, RESOLVING_MAX, Answer, ApartResolver, Failed, Outgoing, OutgoingError
from tests.listeners import http, listening
from tests.spellings import EMBEDDED, PLAIN, PRIVATE

pytestmark = pytest.mark.case("S3")

SECONDS = 30.0
PUBLIC_HOST, PRIVATE_HOST = "127.0.0.2", "127.0.0.1"


class FakeResolver(AbstractResolver):
    """Answers what each name was given, the next answer each time it is asked."""

    def __init__(self, *answers: Iterable[Any]) -> None:
        self._answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        found: list[Any] = [
            address
            if isinstance(address, dict)
            else ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in answer
        ]
        return found

    async def close(self) -> None:
        """Holds nothing."""


class Turning(dict[str, Any]):
    """An answer of the DNS whose address is a public one when it is judged and a private one from then on."""

    def __init__(self, port: int) -> None:
        super().__init__(hostname="chat.example.com", port=port, family=socket.AF_INET, proto=0, flags=0)
        self._hosts = [PUBLIC_HOST]

    def __getitem__(self, key: str) -> Any:
        if key == "host":
            return self._hosts.pop() if self._hosts else PRIVATE_HOST
        return super().__getitem__(key)


@asynccontextmanager
async def calling(*answers: Iterable[Any], allowed: str = "") -> AsyncIterator[Outgoing]:
    outgoing = Outgoing(
        AllowedHosts(allowed),
        resolver=FakeResolver(*answers) if answers else None,
        judge=lambda address: address == PUBLIC_HOST,
    )
    try:
        yield outgoing
    finally:
        await outgoing.close()


async def get(outgoing: Outgoing, url: str, **options: Any) -> Answer:
    return await outgoing.call("GET", outgoing.read(url), **({"total_seconds": 5.0} | options))


async def failure(outgoing: Outgoing, url: str, **options: Any) -> OutgoingError:
    with pytest.raises(OutgoingError) as raised:
        await get(outgoing, url, **options)
    return raised.value


async def test_a_public_address_is_called_by_itself_and_by_name() -> None:
    async with listening(http(b"yes"), PUBLIC_HOST) as there, calling([PUBLIC_HOST]) as outgoing:
        assert (await get(outgoing, f"http://{PUBLIC_HOST}:{there.port}")).body == b"yes"
        assert (await get(outgoing, f"http://chat.example.com:{there.port}/a?b=%20")).body == b"yes"
        assert there.received[1].startswith(b"GET /a?b=%20 HTTP/1.1\r\nHost: chat.example.com:")


@pytest.mark.parametrize(
    "answers",
    [
        [[PRIVATE_HOST]],
        [[PUBLIC_HOST, PRIVATE_HOST]],
        [[PRIVATE_HOST, PUBLIC_HOST]],
        [["::ffff:127.0.0.1"]],
        [["::1%lo"]],
        [[PUBLIC_HOST, "::1"]],
    ],
)
async def test_a_name_with_a_private_address_is_not_called(answers: list[list[str]]) -> None:
    async with listening(http(b"secret")) as here, calling(*answers) as outgoing:
        failed = await failure(outgoing, f"http://chat.example.com:{here.port}")
        assert failed.failed is Failed.REFUSED
        assert await here.nothing_came()


@pytest.mark.parametrize("address", PRIVATE[:-2])
async def test_no_name_leads_to_a_private_address(address: str) -> None:
    outgoing = Outgoing(AllowedHosts(""), resolver=FakeResolver([address]))
    assert (await failure(outgoing, "http://chat.example.com")).failed is Failed.REFUSED
    await outgoing.close()


async def test_an_answer_that_changes_between_two_calls_is_judged_anew() -> None:
    async with (
        listening(http(b"public"), PUBLIC_HOST) as there,
        listening(http(b"secret")) as here,
        calling([PUBLIC_HOST], [PRIVATE_HOST]) as outgoing,
    ):
        assert (await get(outgoing, f"http://chat.example.com:{there.port}")).body == b"public"
        assert (await failure(outgoing, f"http://chat.example.com:{here.port}")).failed is Failed.REFUSED
        assert await here.nothing_came()


async def test_the_address_that_connects_is_judged_itself() -> None:
    async with listening(http(b"secret")) as here, calling([Turning(here.port)]) as outgoing:
        assert (await failure(outgoing, f"http://chat.example.com:{here.port}")).failed is Failed.REFUSED
        assert await here.nothing_came()


@pytest.mark.parametrize("host", [*PLAIN, *EMBEDDED])
async def test_a_private_host_is_not_called_by_itself(host: str) -> None:
    async with listening(http(b"secret")) as here:
        outgoing = Outgoing(AllowedHosts(""))
        assert (await failure(outgoing, f"http://{host}:{here.port}")).failed is Failed.REFUSED
        assert await here.nothing_came()
        await outgoing.close()


async def test_a_redirect_is_answered_and_not_followed() -> None:
    async with listening(http(b"secret")) as here:
        moved = http(b"", "302 Found", f"Location: http://{PRIVATE_HOST}:{here.port}/")
        async with listening(moved, PUBLIC_HOST) as there, calling() as outgoing:
            answer = await get(outgoing, f"http://{PUBLIC_HOST}:{there.port}")
        assert answer.status == 302
        assert await here.nothing_came()


async def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        listening(http(b"proxied")) as proxy,
        listening(http(b"direct"), PUBLIC_HOST) as there,
        calling() as outgoing,
    ):
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{PRIVATE_HOST}:{proxy.port}")
        assert (await get(outgoing, f"http://{PUBLIC_HOST}:{there.port}")).body == b"direct"
        assert await proxy.nothing_came()


async def test_what_the_operator_allows_is_reached_at_its_port_alone() -> None:
    async with listening(http(b"yes")) as here, listening(http(b"secret")) as other:
        async with calling(allowed=f"{PRIVATE_HOST}:{here.port}") as outgoing:
            assert (await get(outgoing, f"http://{PRIVATE_HOST}:{here.port}")).body == b"yes"
            assert (await failure(outgoing, f"http://{PRIVATE_HOST}:{other.port}")).failed is Failed.REFUSED
        async with calling([PRIVATE_HOST], allowed="chat.local") as outgoing:
            assert (await get(outgoing, f"http://chat.local:{here.port}")).body == b"yes"
            # The same address under a name that nobody allowed.
            assert (await failure(outgoing, f"http://chat.example.com:{other.port}")).failed is Failed.REFUSED
        assert await other.nothing_came()


async def test_a_name_without_an_address_is_answered_like_one_that_is_private() -> None:
    class Unknown(FakeResolver):
        async def resolve(self, *_arguments: Any, **_options: Any) -> list[ResolveResult]:
            raise OSError("no such name")

    outgoing = Outgoing(AllowedHosts(""), resolver=Unknown())
    unknown = await failure(outgoing, "http://chat.example.com")
    await outgoing.close()
    async with calling([PRIVATE_HOST]) as outgoing:
        private = await failure(outgoing, "http://chat.example.com")
    assert (unknown.failed, unknown.detail) == (private.failed, private.detail)


async def test_an_answer_is_read_to_its_limits_alone() -> None:
    async with calling() as outgoing:
        async with listening(http(b"x" * 11), PUBLIC_HOST) as there:
            failed = await failure(outgoing, f"http://{PUBLIC_HOST}:{there.port}", answer_bytes_max=10)
            assert failed.failed is Failed.TOO_LARGE
        async with listening(http(b"", "200 OK", *["X: y"] * (HEADERS_MAX + 1)), PUBLIC_HOST) as there:
            assert (await failure(outgoing, f"http://{PUBLIC_HOST}:{there.port}")).failed is Failed.BROKEN
        async with listening(b"220 mail.example.com ESMTP\r\n", PUBLIC_HOST) as there:
            assert (await failure(outgoing, f"http://{PUBLIC_HOST}:{there.port}")).failed is Failed.BROKEN


async def test_an_answer_that_does_not_come_is_waited_for_only_so_long() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, PUBLIC_HOST, 0)
    async with server, calling() as outgoing:
        port = server.sockets[0].getsockname()[1]
        failed = await failure(outgoing, f"http://{PUBLIC_HOST}:{port}", total_seconds=0.1)
    assert failed.failed is Failed.TIMEOUT


async def test_names_are_looked_up_in_threads_that_no_other_work_shares() -> None:
    """Whoever owns a name says how long its look-up takes."""
    begun, go_on = threading.Barrier(RESOLVING_MAX + 1), threading.Event()
    threads: set[str] = set()

    def slow(host: str, port: int, **_: Any) -> list[Any]:
        threads.add(threading.current_thread().name.partition("_")[0])
        begun.wait(SECONDS)
        go_on.wait(SECONDS)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", port))]

    resolver = ApartResolver(slow)
    try:
        looking = [asyncio.create_task(resolver.resolve(f"slow-{turn}.example", 80)) for turn in range(RESOLVING_MAX)]
        await asyncio.to_thread(begun.wait, SECONDS)
        go_on.set()
        found = await asyncio.gather(*looking)
    finally:
        go_on.set()
        await resolver.close()
    assert threads == {"resolving"}
    assert [(one["host"], one["port"], one["hostname"]) for (one,) in found] == [
        ("192.0.2.7", 80, f"slow-{turn}.example") for turn in range(RESOLVING_MAX)
    ]


async def test_a_name_of_this_machine_is_looked_up_as_it_stands() -> None:
    resolver = ApartResolver()
    try:
        found = {one["host"] for one in await resolver.resolve("localhost", 80)}
    finally:
        await resolver.close()
    assert found
    assert found <= {"127.0.0.1", "::1"}


async def test_where_no_resolver_is_given_it_is_the_one_apart() -> None:
    outgoing = Outgoing(AllowedHosts(""))
    assert isinstance(outgoing._resolver, ApartResolver)
    await outgoing.close()
