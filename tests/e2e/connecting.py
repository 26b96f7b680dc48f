"""A number connects before one's eyes: its code as a phone's camera sees it, and its state as that changes."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

import segno
from playwright.async_api import Locator, expect

from tests.e2e.browser import THEMES, Visitor

NAME = "Comercial"
PADDING_PX, QUIET_MODULES = 8, 4
"""Around the picture, and around the code in it."""
MODULES = """async ([png, side, padding, quiet]) => {
    const image = new Image();
    image.src = `data:image/png;base64,${png}`;
    await image.decode();
    const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, image.width, image.height);
    const module = (image.width - 2 * padding) / (side + 2 * quiet);
    const at = (place) => Math.floor(padding + (quiet + place + 0.5) * module);
    const dark = (row, column) => data[4 * (at(row) * image.width + at(column))] < 128;
    return Array.from({ length: side }, (_, row) => Array.from({ length: side }, (_, column) => dark(row, column)));
}"""
"""Which modules of a code are dark in a picture of the screen, row by row."""


async def a_number_connects(person: Visitor, content: Mapping[str, Any]) -> None:
    """The demo's have connected by themselves; another one shows its code until it is scanned."""
    page = person.page
    await page.get_by_role("link", name="Números").click()
    demo = page.locator("[data-instance]", has_text="WhatsApp da secretaria")
    await expect(demo.get_by_text("Conectado", exact=True)).to_be_visible()
    await expect(demo).to_contain_text("+5511960007001")
    await page.get_by_role("button", name="Conectar um número").click()
    await page.get_by_label("Nome").fill(NAME)
    await page.get_by_label("Endereço da Evolution API").fill(content["evolution"]["base_url"])
    await page.get_by_label("Chave global da Evolution").fill(content["evolution"]["access_token"])
    await person.looks_right("a new number")
    async with page.expect_response(lambda answer: answer.url.endswith("/qr") and answer.ok) as answered:
        await page.get_by_role("dialog").get_by_role("button", name="Conectar um número").click()
    code = (await (await answered.value).json())["code"]
    await _is_the_code(person, page.get_by_alt_text("QR code para ler com o WhatsApp"), code)
    await expect(page.locator("[data-instance=QR]")).to_contain_text(NAME)
    await person.draw("numbers", "light")
    await person.looks_right("a code to scan")
    # From here on nobody does anything: the phone scans it, and the page is told.
    await expect(page.locator("[data-qr=OPEN]")).to_have_text(re.compile("Conectado"))
    await page.keyboard.press("Escape")
    await expect(page.locator("[data-instance=OPEN]")).to_have_count(3)
    person.nothing_broke()


async def _is_the_code(person: Visitor, picture: Locator, code: str) -> None:
    """In either theme the screen shows this code, dark on light: what a phone can read."""
    wanted = [[bool(module) for module in row] for row in segno.make(code, error="l", micro=False).matrix]
    for theme in THEMES:
        await person.page.emulate_media(color_scheme=theme)
        shown = base64.b64encode(await picture.screenshot()).decode()
        seen = await person.page.evaluate(MODULES, [shown, len(wanted), PADDING_PX, QUIET_MODULES])
        assert seen == wanted, theme
