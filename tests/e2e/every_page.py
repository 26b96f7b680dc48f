"""Every page that the gateway answers, on a desk and on a telephone, in both themes."""

from __future__ import annotations

from urllib.parse import urlsplit

from playwright.async_api import expect

from gateway.routes.dashboard import built_dashboard
from tests.e2e.browser import ROOT, Visitor

WIDTHS = (1280, 375)
ROUTER = ROOT / "dashboard" / "src" / "app" / "router.tsx"
SCRIPTS_BYTES_MAX = 150_000
"""Of all that the first screen loads, as it travels."""
SCRIPTS_BYTES = (
    "performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('.js'))"
    ".reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0)"
)


async def every_page_looks_right(person: Visitor, stranger: Visitor, url: str) -> None:
    """Pages come from the build, so a new one is looked at by itself; of one that lists things, the first of them too.

    ``stranger`` has no session, and is shown what a ``person`` who has one is led away from.
    """
    dashboard = built_dashboard()
    assert dashboard is not None
    for width in WIDTHS:
        for visitor in (person, stranger):
            await visitor.page.set_viewport_size({"width": width, "height": 800})
        seen = [name for name in dashboard.pages if await _looks_right(person, url, f"/{name}", width)]
        first = [path for name in seen if (path := await _first_below(person, url, f"/{name}"))]
        for path in first:
            assert await _looks_right(person, url, path, width)
        # Each route with a name in it is of something that some page lists.
        assert len(first) == ROUTER.read_text(encoding="utf-8").count('path: "$'), first
        for name in set(dashboard.pages) - set(seen):
            assert await _looks_right(stranger, url, f"/{name}", width)
    person.nothing_broke()
    stranger.nothing_broke()
    await person.page.set_viewport_size({"width": WIDTHS[0], "height": 800})


async def the_first_screen_is_light(person: Visitor) -> None:
    """What is loaded until conversations are listed, and nothing is pointed at: that is loaded ahead."""
    page = person.page
    await page.mouse.move(0, 0)
    await page.reload()
    await expect(page.locator("[data-conversation]").first).to_be_visible()
    loaded = await page.evaluate(SCRIPTS_BYTES)
    assert 0 < loaded <= SCRIPTS_BYTES_MAX, loaded


async def _looks_right(visitor: Visitor, url: str, path: str, width: int) -> bool:
    """Answers whether this visitor is shown the page at all, and not led to another one."""
    if not await _opened(visitor, url, path):
        return False
    place = visitor.page.locator("nav [aria-current=page]")
    if await place.count():
        await expect(place).to_be_in_viewport(ratio=1)
    await visitor.looks_right(f"{path}, {width} px")
    return True


async def _opened(visitor: Visitor, url: str, path: str) -> bool:
    """Opens a page and waits until it shows what there is."""
    page = visitor.page
    if urlsplit(page.url).path != path:
        await page.goto(url + path)
    await expect(page.get_by_role("heading").first).to_be_visible()
    await expect(page.locator(".animate-pulse")).to_have_count(0)
    return urlsplit(page.url).path == path


async def _first_below(person: Visitor, url: str, path: str) -> str:
    """Where the first thing that a page lists is shown; empty where it lists none that has a page."""
    assert await _opened(person, url, path)
    below = person.page.locator(f"main a[href^='{path}/']")
    return urlsplit(str(await below.first.get_attribute("href"))).path if await below.count() else ""
