"""What is published of the contracts is what they say."""

from __future__ import annotations

import re

import pytest

from chassis.system import SERVICES
from chassis.transcoding.contracts import services
from tests.contract.reasons import ROOT
from tools.contracts import FOLDER, page


@pytest.mark.req("ID-14")
@pytest.mark.parametrize("service", SERVICES)
def test_the_page_of_a_service_is_what_its_contracts_make(service: str) -> None:
    text = (FOLDER / f"{service}.md").read_text(encoding="utf-8")
    assert text == page(service), "run `make generate`"
    rpcs = [rpc.name for found in services() if found.full_name.split(".")[1] == service for rpc in found.methods]
    assert rpcs
    assert [name for name in rpcs if f"### {name}\n" not in text] == []
    # No link leads nowhere.
    headings = {name: set(re.findall(r"^### (\w+)$", page(name).lower(), re.MULTILINE)) for name in SERVICES}
    assert [link for link in re.findall(r"\]\((\w+)\.md#(\w+)\)", text) if link[1] not in headings[link[0]]] == []


@pytest.mark.req("ID-14")
def test_what_the_contracts_of_identity_cannot_say_is_written_down() -> None:
    assert (ROOT / "docs" / "contracts" / "identity.md").stat().st_size > 0
