"""A person takes a conversation over, answers it and gives it back, in the browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson
from playwright.async_api import Route, expect

from cli.demo import state
from tests.e2e.browser import Visitor
from tests.e2e.suite import Suite

NAME = "Joana Prates"
QUESTION, ANSWER = "Ainda dá para entrar na turma?", "Dá sim, Joana!\nQuer vir na quinta?"
CONFIRMED, AUTOMATIC = "Quero sim!", "Até quinta!"


async def a_person_answers(
    person: Visitor, suite: Suite, session: aiohttp.ClientSession, content: Mapping[str, Any]
) -> None:
    """A customer writes through the fake Chatwoot; while a person has the conversation, automation says nothing."""
    page = person.page
    key = {"X-Api-Key": content["api_key"]}
    at_chatwoot = await _chatwoot(session, content, key)
    thread = await _say(session, at_chatwoot, QUESTION)
    await page.get_by_role("link", name="Conversas").click()
    await page.locator("[data-conversation]", has_text=NAME).click()
    await expect(page.locator("[data-message]")).to_have_count(1)
    conversation_url = f"{content['url']}/api/v1/conversations/{page.url.rsplit('/', 1)[1]}"

    await expect(page.locator("[data-handoff=AI]")).to_contain_text("A automação pode responder.")
    await page.get_by_role("button", name="Assumir").click()
    await expect(page.locator("[data-handoff=HUMAN]")).to_contain_text("até você devolver")
    assert await _automation_says(session, conversation_url, key) == (400, "HANDOFF_HUMAN")

    await _a_draft_waits_for_its_conversation(person)
    posted = await _send_while_an_answer_is_lost(person)
    ours = page.locator("[data-message]", has_text="Dá sim, Joana!")
    await expect(ours).to_have_attribute("data-state", "DELIVERED")
    await expect(page.locator("[data-message]")).to_have_count(2)
    await expect(page.locator("[data-pending]")).to_have_count(0)
    assert len(posted) == 2, "the answer to the first was lost"
    assert len(set(posted)) == 1, "asked again under another id"
    assert await _left(session, suite, content, at_chatwoot, thread) == [ANSWER]
    await person.looks_right("a conversation that a person has")
    await person.draw("conversations", "light")

    await page.get_by_role("button", name="Devolver").click()
    await expect(page.locator("[data-handoff=AI]")).to_be_visible()
    await _say(session, at_chatwoot, CONFIRMED)
    await expect(page.locator("[data-message]", has_text=CONFIRMED)).to_be_visible()
    assert await _automation_says(session, conversation_url, key) == (200, "")
    await expect(page.locator("[data-message]", has_text=AUTOMATIC)).to_contain_text("Programa")
    person.nothing_broke()


async def _a_draft_waits_for_its_conversation(person: Visitor) -> None:
    page = person.page
    field = page.get_by_role("textbox", name="Responder")
    await field.fill("Dá sim, Joana!")
    address = page.url
    await page.locator("[data-conversation]").filter(has_not_text=NAME).first.click()
    await expect(field).to_have_value("")
    await page.go_back()
    await expect(page).to_have_url(address)
    await expect(field).to_have_value("Dá sim, Joana!")


async def _send_while_an_answer_is_lost(person: Visitor) -> list[str]:
    """Enter is pressed twice, and the answer to the first request never arrives; answers each request's id."""
    page = person.page
    posted: list[str] = []

    async def lose_the_first(route: Route) -> None:
        if route.request.method != "POST":
            await route.continue_()
            return
        posted.append(orjson.loads(route.request.post_data_buffer or b"{}")["request_id"])
        if len(posted) > 1:
            await route.continue_()
            return
        await route.fetch()
        await route.abort("connectionreset")

    await page.route("**/api/v1/conversations/*/messages", lose_the_first)
    field = page.get_by_role("textbox", name="Responder")
    await field.press("End")
    await field.press("Shift+Enter")
    await field.press_sequentially("Quer vir na quinta?")
    await field.press("Enter")
    await field.press("Enter")
    await expect(field).to_have_value("")
    await expect(field).to_be_focused()
    async with page.expect_response(lambda response: response.request.method == "POST" and response.ok):
        pass
    await page.unroute("**/api/v1/conversations/*/messages")
    # The browser itself tells of the connection that was lost.
    assert [text for text in person.broken if "ERR_CONNECTION_RESET" not in text] == []
    person.broken.clear()
    return posted


async def _chatwoot(session: aiohttp.ClientSession, content: Mapping[str, Any], key: dict[str, str]) -> str:
    """Where the fake listens; the demo has a connection to an Evolution too."""
    async with session.get(f"{content['url']}/api/v1/connections", headers=key) as answer:
        [chatwoot] = [each for each in (await answer.json())["connections"] if each["provider"] == "CHATWOOT"]
    return str(chatwoot["base_url"])


async def _say(session: aiohttp.ClientSession, at_chatwoot: str, text: str) -> int:
    """The customer writes; answers the provider's number of the conversation."""
    order = {"inbox": "whatsapp", "name": NAME, "text": text}
    async with session.post(f"{at_chatwoot}/_sandbox/incoming", json=order) as told:
        return int((await told.json())["conversation_id"])


async def _automation_says(session: aiohttp.ClientSession, url: str, key: dict[str, str]) -> tuple[int, str]:
    async with session.post(f"{url}/messages", headers=key, json={"text": AUTOMATIC}) as answer:
        return answer.status, (await answer.json()).get("reason", "")


async def _left(
    session: aiohttp.ClientSession, suite: Suite, content: Mapping[str, Any], at_chatwoot: str, thread: int
) -> list[str]:
    """What of ours stands in the thread at the provider."""
    path = f"/api/v1/accounts/{content['chatwoot']['account_id']}/conversations/{thread}/messages"
    token = {"Api-Access-Token": state.load(suite.home).access_token}
    async with session.get(at_chatwoot + path, headers=token) as answer:
        shown = (await answer.json())["payload"]
    return [each["content"] for each in shown if each["message_type"] == 1]
