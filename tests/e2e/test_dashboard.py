"""The dashboard as people meet it: the whole suite with its demo, and a browser in front of it."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psutil  # type: ignore[import-untyped]  # no stubs are published with it
import psycopg
import pytest
from playwright.async_api import Locator, Page, expect

from chassis.clock import SystemClock
from cli.smoke.bodies import Writer, flat_message
from embedded.shapes import Shape
from prosa.v1.options_pb2 import SOURCE_WHATSAPP
from sandbox.chatwoot.signing import signed_request
from tests.browser import Authenticator
from tests.e2e.answering import a_person_answers
from tests.e2e.browser import WAIT_MS, Visitor, chromium, open_browser, visitor
from tests.e2e.connecting import a_number_connects
from tests.e2e.every_page import every_page_looks_right, the_first_screen_is_light
from tests.e2e.suite import Suite
from tests.e2e.talking import two_numbers_have_talked
from tests.evolution import eventually

ORGANIZATION = "Escola Ipê Idiomas"
LOOK_AGAIN_SECONDS = 0.1
CUSTOMER = "Rosa <b>Marinho</b> da Silva"
CONVERSATION = 899_999_001
SHOWN_DAYS = (
    "Array.from(document.querySelectorAll('[data-day]')).map(row =>"
    " Array.from(row.querySelectorAll('td')).slice(0, 2).reduce((sum, cell) => sum + Number(cell.innerText), 0))"
)
"""What was said on each day, both ways, oldest first."""
SHOWN_HOURS = "Array.from(document.querySelectorAll('[data-cell]')).map(cell => Number(cell.dataset.cell))"
"""What was said in each hour of the week, from Monday."""


@dataclass
class Owner:
    """Who the demo belongs to; each recovery code lets in once."""

    email: str
    password: str
    recovery_codes: list[str] = field(default_factory=list)


@pytest.fixture
async def suite(tmp_path: Path) -> AsyncIterator[Suite]:
    """A home that nobody used before."""
    chromium()
    running = Suite(tmp_path / "home")
    yield running
    await running.close()


@pytest.mark.req("ID-17", "GW-02", "GW-05")
@pytest.mark.timeout(600)
async def test_a_person_signs_in_and_follows_what_happens(suite: Suite) -> None:
    content = await suite.start("--demo", "--shape", Shape.RECEIVER)
    expect.set_options(timeout=WAIT_MS)
    async with open_browser() as browser, _provider() as session:
        async with visitor(browser) as person:
            owner = Owner(content["admin"]["email"], content["admin"]["password"])
            # The demo's numbers are connected by somebody who holds a telephone, a few seconds after the start.
            assert await eventually(lambda: _only_administrators(suite)) == 1, "no second factor yet"
            await _signing_in_leads_to_where_one_wanted_to_be(person, owner, content)
            await _a_customer_is_seen_at_once(person, session, content)
            assert await _doctor(suite) == (0, [])
            await _nothing_is_missed_while_the_gateway_is_away(person, suite, session, content)
            await _contacts_are_found_by_phone(person)
            await _two_contacts_become_one_and_two_again(person)
            await a_person_answers(person, suite, session, content)
            async with visitor(browser) as other:
                await _a_deal_moves_before_everybodys_eyes(person, other, owner, session, content)
                await _all_sending_is_stopped_and_goes_on(person, other)
            await a_number_connects(person, content)
            async with visitor(browser) as invited:
                await _somebody_is_invited_and_comes(person, invited)
            await _figures_are_those_of_the_rows(person, session, content)
            await two_numbers_have_talked(person)
            await _a_campaign_was_sent_and_somebody_opted_out(person)
            async with visitor(browser) as stranger:
                await every_page_looks_right(person, stranger, content["url"])
            await person.page.get_by_role("link", name="Conversas").click()
            await _an_owner_of_two_goes_to_the_other(person, suite, owner)
            await _the_language_is_kept_and_signing_out_leaves_nothing(person, content)
        async with visitor(browser, locale="en-GB", width=375) as person:
            await _a_telephone_is_wide_enough(person, owner, content)


async def _only_administrators(suite: Suite) -> int | None:
    """The exit code once nothing else fails."""
    code, failed = await _doctor(suite)
    return code if failed == ["administrators"] else None


async def _doctor(suite: Suite) -> tuple[int, list[str]]:
    """The exit code, and what failed."""
    code, out, err = await suite.run("org", "doctor", "--org", ORGANIZATION, "--json")
    assert out, err
    return code, [item["name"] for item in orjson.loads(out)["items"] if item["state"] == "ITEM_STATE_FAILED"]


async def _signing_in_leads_to_where_one_wanted_to_be(person: Visitor, owner: Owner, content: dict[str, Any]) -> None:
    page = person.page
    await page.goto(f"{content['url']}/board")
    await expect(page).to_have_url(re.compile(r"/sign-in\?back="))
    person.nothing_broke()
    await _fill(page, email=owner.email, password="not-the-password")
    await expect(page.get_by_role("alert")).to_have_text("E-mail ou senha incorretos.")
    await _fill(page, email=owner.email, password=owner.password)
    await _the_second_factor_is_set_up(person, owner)
    await expect(page).to_have_url(f"{content['url']}/board")
    await expect(page.locator("[data-stage]")).to_have_count(7)
    first = page.locator("[data-stage]").first
    await expect(first.get_by_role("listitem").first).to_be_visible()
    await expect(first.locator("[data-count]")).to_have_text(re.compile(r"negócio"))


async def _the_second_factor_is_set_up(person: Visitor, owner: Owner) -> None:
    """The owner's first sign-in leads there by itself; then on to where the owner wanted to be."""
    page = person.page
    await expect(page).to_have_url(re.compile(r"/second-factor\?back="))
    await expect(page.get_by_alt_text("QR code do autenticador")).to_be_visible()
    await person.looks_right("second factor")
    secret = await page.locator("[data-secret]").inner_text()
    await _fill(page, code="000000")
    await expect(page.get_by_text("Esse código está errado")).to_be_visible()
    await _fill(page, code=Authenticator.of(secret, SystemClock()).code())
    await expect(page.locator("[data-recovery-codes] li")).to_have_count(10)
    owner.recovery_codes = await page.locator("[data-recovery-codes] li").all_inner_texts()
    await person.looks_right("recovery codes")
    person.broken.clear()
    await page.get_by_role("link", name="Já guardei").click()


async def _a_customer_is_seen_at_once(person: Visitor, session: aiohttp.ClientSession, content: dict[str, Any]) -> None:
    page = person.page
    await page.get_by_role("link", name="Conversas").click()
    await expect(page.locator("[data-live=live]")).to_be_visible()
    await expect(page.locator("[data-conversation]").first).to_be_visible()
    assert await _write(session, content, 1, "Bom dia! <img src=x onerror=alert(1)>") == 200
    row = page.locator("[data-conversation]", has_text=CUSTOMER)
    await expect(row).to_contain_text("Bom dia!")
    await row.click()
    await expect(page).to_have_url(re.compile(r"/conversations/[0-9a-f-]{36}"))
    messages = page.locator("[data-message]")
    await expect(messages).to_have_count(1)
    await expect(messages.first).to_contain_text("<img src=x onerror=alert(1)>")
    assert await _write(session, content, 2, "Ainda há vaga?") == 200
    await expect(messages).to_have_count(2)
    await expect(messages.last).to_contain_text("Ainda há vaga?")
    await person.looks_right("thread")
    person.nothing_broke()


async def _nothing_is_missed_while_the_gateway_is_away(
    person: Visitor, suite: Suite, session: aiohttp.ClientSession, content: dict[str, Any]
) -> None:
    page = person.page
    gateway = psutil.Process(suite.pid("gateway"))
    gateway.kill()
    await asyncio.to_thread(gateway.wait)
    # The supervisor holds the socket: who writes meanwhile waits.
    assert await _write(session, content, 3, "Escrevi no meio da queda") == 200
    messages = page.locator("[data-message]")
    await expect(messages).to_have_count(3)
    await expect(messages.last).to_contain_text("no meio da queda")
    await expect(page.locator("[data-live=live]")).to_be_visible()
    # A broken connection is told to the console; that is what was looked for.
    person.broken.clear()
    await page.reload()
    await expect(messages).to_have_count(3)


async def _contacts_are_found_by_phone(person: Visitor) -> None:
    page = person.page
    await page.get_by_role("link", name="Contatos").click()
    await page.get_by_label("Nome ou telefone").fill("(11) 90000-7878")
    found = page.get_by_role("region", name="Lista de contatos").get_by_role("link")
    await expect(found).to_have_count(1)
    await expect(page).to_have_url(re.compile(r"phone="))
    await found.click()
    await expect(page.get_by_role("heading", name=CUSTOMER)).to_be_visible()
    await expect(page.get_by_role("heading", name="Negócios")).to_be_visible()
    await expect(page.get_by_role("region", name="Contato", exact=True).get_by_role("link")).to_have_count(2)
    person.nothing_broke()


async def _two_contacts_become_one_and_two_again(person: Visitor) -> None:
    """From the page of a contact, who is the survivor."""
    page = person.page
    merges = page.get_by_role("heading", name="Contatos juntados")
    await page.get_by_role("button", name="Juntar com…").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Quem é a mesma pessoa?").fill("an")
    await dialog.get_by_role("listitem").first.get_by_role("button").click()
    await person.looks_right("merge")
    await dialog.get_by_role("button", name="São a mesma pessoa").click()
    await expect(page.get_by_text("Agora é um contato só.")).to_be_visible()
    await expect(merges).to_be_visible()
    await page.get_by_role("status").get_by_role("button", name="Desfazer").click()
    await expect(page.get_by_text("São dois contatos de novo.")).to_be_visible()
    await expect(merges).to_be_hidden()
    await page.get_by_role("link", name="Pendências").click()
    await expect(page.get_by_role("heading", name="Quem é quem")).to_be_visible()
    person.nothing_broke()


async def _a_deal_moves_before_everybodys_eyes(
    person: Visitor, other: Visitor, owner: Owner, session: aiohttp.ClientSession, content: dict[str, Any]
) -> None:
    """By keyboard, then by hand; who looks on sees it, with the name of who did it."""
    await other.page.goto(f"{content['url']}/board")
    await _sign_in(other, owner)
    page = person.page
    await page.get_by_role("link", name="Quadro").click()
    new, busy, waiting = (page.locator("[data-stage]").nth(number) for number in range(3))
    # Ours: the demo moves its own.
    deal_id = await new.locator("[data-deal]", has_text=CUSTOMER).get_attribute("data-deal")
    moved = f"[data-deal='{deal_id}']"
    await expect(other.page.locator(moved)).to_be_visible()
    await new.locator(moved).get_by_role("button", name=re.compile("^Mover")).focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("menu")).to_be_visible()
    await page.keyboard.press("Enter")
    await expect(busy.locator(moved)).to_be_visible()
    await expect(new.locator(moved)).to_have_count(0)
    theirs = other.page.locator("[data-stage]").nth(1)
    await expect(theirs.locator(moved)).to_contain_text(f"movido por {owner.email}")
    await _counts_what_it_shows(theirs)
    await busy.locator(moved).drag_to(waiting)
    await expect(waiting.locator(moved)).to_be_visible()
    await expect(other.page.locator("[data-stage]").nth(2).locator(moved)).to_be_visible()
    await _counts_what_it_shows(busy)
    await _counts_what_it_shows(waiting)
    headers = {"X-Api-Key": content["api_key"]}
    async with session.get(f"{content['url']}/api/v1/deals/{deal_id}", headers=headers) as answer:
        assert (await answer.json())["stage_label"] == await waiting.get_attribute("data-stage")
    await person.looks_right("board with a moved deal")
    await person.draw("board", "dark")
    person.nothing_broke()
    other.nothing_broke()


async def _somebody_is_invited_and_comes(person: Visitor, invited: Visitor) -> None:
    page = person.page
    await page.get_by_role("link", name="Equipe").click()
    await page.get_by_role("button", name="Convidar alguém").click()
    await page.get_by_label("E-mail").fill("bia@escola-ipe.example")
    await page.get_by_role("button", name="Gerar o link").click()
    link = await page.locator("[data-invitation]").inner_text()
    await person.looks_right("invitation made")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("heading", name="Convites abertos")).to_be_visible()
    await invited.page.goto(link)
    await expect(
        invited.page.get_by_text(f"{ORGANIZATION} convida bia@escola-ipe.example como: Agente")
    ).to_be_visible()
    await invited.looks_right("invitation")
    await invited.page.get_by_label("Escolha uma senha").fill("girassol de papel 9")
    await invited.page.get_by_role("button", name="Aceitar").click()
    await expect(invited.page).to_have_url(re.compile("/conversations"))
    await expect(invited.page.locator("[data-conversation]").first).to_be_visible()
    await invited.page.get_by_role("link", name="Equipe").click()
    await expect(invited.page.locator("[data-member='bia@escola-ipe.example']")).to_contain_text("Agente")
    await expect(invited.page.get_by_role("button", name="Convidar alguém")).to_have_count(0)
    await expect(page.locator("[data-member='bia@escola-ipe.example']")).to_be_visible()
    await expect(page.get_by_role("heading", name="Convites abertos")).to_have_count(0)
    person.nothing_broke()
    invited.nothing_broke()


async def _figures_are_those_of_the_rows(
    person: Visitor, session: aiohttp.ClientSession, content: dict[str, Any]
) -> None:
    """Somebody writes on each of seven days: seven bars, and each hour of the week as SQL counts it."""
    for day in range(7):
        for copy in range(day + 1):
            assert await _write(session, content, 100 + 10 * day + copy, "Oi", timedelta(days=day)) == 200
    page = person.page
    await page.get_by_role("link", name="Métricas").click()
    await expect(page.locator("[data-day]")).to_have_count(7)
    await expect(page.locator("[data-cell]")).to_have_count(7 * 24)
    async with await psycopg.AsyncConnection.connect(content["database_url"]) as reader:
        async with asyncio.timeout(WAIT_MS / 1000):
            # The demo goes on: what is counted on both sides of a message differs for a moment.
            while True:
                shown = (await page.evaluate(SHOWN_DAYS), await page.evaluate(SHOWN_HOURS))
                if shown == await _counted(reader, content["organization_id"]):
                    break
                await page.reload()
                await expect(page.locator("[data-cell]")).to_have_count(7 * 24)
    assert all(count > day for day, count in enumerate(reversed(shown[0])))
    await expect(page.locator(".recharts-bar").first.locator(".recharts-bar-rectangle")).to_have_count(7)


async def _counted(reader: psycopg.AsyncConnection[Any], organization_id: str) -> tuple[list[int], list[int]]:
    """Messages by day and by hour of the week, of seven days to today where the organization is."""
    await reader.execute("select set_config('timezone', 'America/Sao_Paulo', false)")
    found = await reader.execute(
        "select (current_date - create_time::date)::int, extract(isodow from create_time)::int,"
        " extract(hour from create_time)::int, count(*)::int from conversation.messages"
        " where organization_id = %s and direction <> 'UNSPECIFIED' and create_time::date > current_date - 7"
        " group by 1, 2, 3",
        [organization_id],
    )
    days, hours = [0] * 7, [0] * 7 * 24
    for ago, weekday, hour, count in await found.fetchall():
        days[6 - ago] += count
        hours[(weekday - 1) * 24 + hour] += count
    await reader.commit()
    return days, hours


async def _a_campaign_was_sent_and_somebody_opted_out(person: Visitor) -> None:
    """The demo's, to two people: one answers it, the other one asks for no more."""
    page = person.page
    await page.get_by_role("link", name="Campanhas").click()
    await page.get_by_role("region", name="Lista de campanhas").get_by_role("link").first.click()
    for count, said in {"planned": 2, "replied": 2, "opted_out": 1, "suppressed": 0}.items():
        await expect(page.locator(f"[data-count={count}] dd")).to_have_text(str(said))
    await expect(page.get_by_text("Pediu para não receber mais")).to_have_count(1)
    await person.draw("campaign", "light")
    person.nothing_broke()


async def _all_sending_is_stopped_and_goes_on(person: Visitor, other: Visitor) -> None:
    """Not by a slip: a reason and a word are asked for. Everybody sees it."""
    page = person.page
    await page.get_by_role("button", name="Parar envios").click()
    await page.get_by_label("Por quê?").fill("Campanha errada")
    stop = page.get_by_role("button", name="Parar tudo agora")
    await expect(stop).to_be_disabled()
    await page.get_by_label("para confirmar").fill("parar")
    await person.looks_right("kill switch")
    await stop.click()
    await expect(page.locator("[data-kill=on]")).to_be_visible()
    await expect(other.page.locator("[data-kill=on]")).to_be_visible()
    await page.locator("[data-kill=on]").click()
    await expect(page.get_by_role("dialog")).to_contain_text("Campanha errada")
    await page.get_by_role("button", name="Liberar os envios").click()
    await expect(page.locator("[data-kill=off]")).to_be_visible()
    await expect(other.page.locator("[data-kill=off]")).to_be_visible()
    person.nothing_broke()


async def _counts_what_it_shows(stage: Locator) -> None:
    """The total over a column soon says how many cards stand in it."""
    agree = (
        "stage => Number(stage.querySelector('[data-count]')?.dataset.count) === stage.querySelectorAll('li').length"
    )
    async with asyncio.timeout(WAIT_MS / 1000):
        while not await stage.evaluate(agree):  # noqa: ASYNC110 a page has no event for what it shows
            await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def _an_owner_of_two_goes_to_the_other(person: Visitor, suite: Suite, owner: Owner) -> None:
    code, _, err = await suite.run("org", "create", "--name", "Filial", "--admin", owner.email)
    assert code == 0, err
    page = person.page
    await page.reload()
    await page.get_by_label("Organização").select_option(label="Filial")
    await expect(page.get_by_text("Ninguém escreveu ainda.")).to_be_visible()
    await expect(page.get_by_text("Marinho")).to_have_count(0)
    await page.get_by_label("Organização").select_option(label=ORGANIZATION)
    await expect(page.get_by_text("Marinho").first).to_be_visible()
    person.nothing_broke()


async def _the_language_is_kept_and_signing_out_leaves_nothing(person: Visitor, content: dict[str, Any]) -> None:
    page = person.page
    await page.get_by_role("link", name="Contatos").click()
    await page.get_by_label("Idioma").select_option("en")
    await expect(page.get_by_role("heading", name="Contacts")).to_be_visible()
    await page.get_by_label("Colours").select_option("dark")
    assert await page.evaluate("document.documentElement.dataset.theme") == "dark"
    [cookie] = await person.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    assert await page.evaluate("document.cookie + JSON.stringify(sessionStorage)") == "{}", "no script can read it"
    address = page.url
    await page.get_by_role("button", name="Sign out").click()
    await expect(page).to_have_url(re.compile(r"/sign-in"))
    assert [cookie["name"] for cookie in await person.context.cookies() if cookie.get("value")] == []
    await page.goto(address)
    await expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    await expect(page.get_by_text("Marinho")).to_have_count(0)
    await page.goto(f"{content['url']}/api/v1/nothing")
    await expect(page.get_by_text("NOT_FOUND")).to_be_visible()
    person.broken.clear()


async def _a_telephone_is_wide_enough(person: Visitor, owner: Owner, content: dict[str, Any]) -> None:
    page = person.page
    await page.goto(content["url"])
    await _sign_in(person, owner)
    await the_first_screen_is_light(person)
    await page.locator("[data-conversation]").first.click()
    await expect(page.locator("[data-message]").first).to_be_visible()
    await person.looks_right("thread on a telephone")
    await person.draw("telephone", "light")
    await page.get_by_role("link", name="Back to conversations").click()
    await expect(page.get_by_role("heading", name="Conversations")).to_be_visible()
    await page.get_by_role("link", name="Board").click()
    await expect(page.locator("[data-stage]").first).to_be_visible()
    await page.get_by_role("link", name="Scripts").click()
    await page.locator("[data-script]").first.click()
    await expect(page.locator("[data-round]").first).to_be_visible()
    await person.looks_right("script on a telephone")
    await page.get_by_label("Colours").select_option("dark")
    await expect(page.locator("[data-theme=dark]")).to_be_attached()
    person.nothing_broke()


def _provider() -> aiohttp.ClientSession:
    """One that opens a connection for each webhook, and so finds the gateway that is there."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))


async def _sign_in(person: Visitor, owner: Owner) -> None:
    """As somebody with a second factor does: the code is asked for once the password was right."""
    page = person.page
    await _fill(page, email=owner.email, password=owner.password)
    await expect(page.locator("form [name=code]")).to_be_visible()
    person.broken.clear()
    await _fill(page, code=owner.recovery_codes.pop())
    await expect(page.locator("[data-live]")).to_be_visible()


async def _fill(page: Page, **fields: str) -> None:
    form = page.get_by_role("form").first
    for name, value in fields.items():
        await form.locator(f"[name={name}]").fill(value)
    await form.get_by_role("button").first.click()


async def _write(
    session: aiohttp.ClientSession, content: dict[str, Any], number: int, text: str, ago: timedelta = timedelta()
) -> int:
    """Lets a customer write to the demo's WhatsApp, as Chatwoot would tell it."""
    writer = Writer(SOURCE_WHATSAPP, "+5511900007878", CUSTOMER, content["chatwoot"]["account_id"], 21)
    body = orjson.dumps(flat_message(writer, CONVERSATION, 899_999_100_000 + number, text, datetime.now(UTC) - ago))
    headers = signed_request(body, content["chatwoot"]["webhook_secret"], secrets.token_hex(8), int(time.time()))
    async with session.post(content["chatwoot"]["webhook_url"], data=body, headers=headers) as answer:
        return answer.status
