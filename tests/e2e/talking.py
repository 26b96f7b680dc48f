"""Two numbers have talked by themselves: their script, its week, and what was said."""

from __future__ import annotations

import re

from playwright.async_api import expect

from cli.demo.talking import NAME, PERSONAS, TOPICS
from tests.e2e.browser import Visitor

TOPIC = re.compile("|".join(map(re.escape, TOPICS)))
ROUND_MS = 180_000
"""The demo's first round is due a minute or so after its numbers are connected, and is said within another one."""


async def two_numbers_have_talked(person: Visitor) -> None:
    """The demo's round is read line by line; its script is paused and goes on."""
    page = person.page
    await page.get_by_role("link", name="Roteiros").click()
    listed = page.locator("[data-script]", has_text=NAME)
    await expect(listed).to_contain_text("Próxima rodada")
    await listed.click()
    await expect(page.locator("[data-participant]")).to_have_text([re.compile(re.escape(name)) for name, _ in PERSONAS])
    await expect(page.locator("[data-weekday]")).to_have_count(7)
    said = page.locator("[data-round=DONE]")
    await expect(said).to_have_count(1, timeout=ROUND_MS)
    await expect(said).to_contain_text(TOPIC)
    opener = said.get_by_role("button")
    if await opener.get_attribute("aria-expanded") == "false":
        await opener.click()
    lines = said.locator("[data-line]")
    await expect(lines.nth(3)).to_be_visible()
    await expect(lines.first).to_contain_text(TOPIC)
    await expect(lines.nth(1)).to_contain_text(PERSONAS[1][0])
    await person.looks_right("script")
    await person.draw("script", "light")
    await page.get_by_role("button", name="Pausar").click()
    await expect(listed).to_contain_text("Nenhuma rodada planejada.")
    await page.get_by_role("button", name="Continuar").click()
    await expect(listed).to_contain_text("Próxima rodada")
    person.nothing_broke()
