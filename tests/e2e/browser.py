"""The system's Chromium, and what every test of the dashboard looks at: nothing broken, nothing unreadable."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

ROOT = Path(__file__).resolve().parent.parent.parent
AXE = ROOT / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
NAMES = ("chromium", "chromium-browser", "google-chrome")
# It must reach nothing but the suite.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WAIT_MS = 20_000
COLOUR_RULES = ("color-contrast", "link-in-text-block")
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def chromium() -> str:
    """Answers the browser's program; skips the test where there is none."""
    named = os.environ.get("PROSA_TEST_BROWSER", "")
    found = named or next((path for name in NAMES if (path := shutil.which(name))), "")
    if not found:
        pytest.skip("No Chromium here: `apt install chromium`, or name one in PROSA_TEST_BROWSER.")
    if not AXE.is_file():
        pytest.fail("The dashboard is not built here: run `make install`.")
    return found


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """A browser of this test's own."""
    program = chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Visitor:
    """One person at one browser, and all that went wrong in it."""

    context: BrowserContext
    page: Page
    broken: list[str] = field(default_factory=list)

    async def looks_right(self, name: str) -> None:
        """Nothing that axe finds, in both themes, and nothing wider than the screen."""
        await self.page.evaluate(AXE.read_text(encoding="utf-8"))
        for theme in THEMES:
            await self.page.emulate_media(color_scheme=theme)
            # A theme is nothing but colours: what is no matter of these is the same in all.
            asked = {} if theme == THEMES[0] else {"runOnly": {"type": "rule", "values": COLOUR_RULES}}
            found: dict[str, Any] = await self.page.evaluate("asked => axe.run(asked)", asked)
            violations = [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found["violations"]]
            assert violations == [], f"{name}, {theme}: {violations}"
        wide = await self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{name} is wider than its screen"

    def listen(self, message: ConsoleMessage) -> None:
        """Keeps an error of the console. The browser itself tells there of every 401: nobody is signed in yet."""
        expected = message.location["url"].endswith("/api/v1/session") and "401" in message.text
        if message.type == "error" and not expected:
            self.broken.append(message.text)

    async def draw(self, name: str, theme: Literal["light", "dark"]) -> None:
        """Keeps a picture of the page for people to look at, where PROSA_PICTURES names a folder."""
        folder = os.environ.get("PROSA_PICTURES", "")
        if folder:
            await self.page.emulate_media(color_scheme=theme)
            await self.page.screenshot(path=Path(folder) / f"{name}.png")

    def nothing_broke(self) -> None:
        """No error in the console since the last look: a refused script or style is told there too."""
        broken, self.broken[:] = list(self.broken), []
        assert broken == []


@asynccontextmanager
async def visitor(browser: Browser, *, locale: str = "pt-BR", width: int = 1280) -> AsyncIterator[Visitor]:
    """Somebody who was never here before."""
    context = await browser.new_context(locale=locale, viewport={"width": width, "height": 800})
    context.set_default_timeout(WAIT_MS)
    page = await context.new_page()
    person = Visitor(context, page)
    page.on("console", person.listen)
    page.on("pageerror", lambda error: person.broken.append(str(error)))
    try:
        yield person
    finally:
        await context.close()
