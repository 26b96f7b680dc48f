"""`prosa key`: a person's canonical key, or a refusal."""

from __future__ import annotations

import pytest

from tests.unit.cli.running import document, prosa


@pytest.mark.req("ID-05")
def test_a_phone_in_national_writing_gives_its_canonical_key() -> None:
    result = prosa("key", "whatsapp", "11999990000")
    assert (result.exit_code, result.stdout) == (0, "whatsapp:+5511999990000\n")


@pytest.mark.req("ID-05")
@pytest.mark.parametrize(
    ("source", "external_id"), [("instagram", ""), ("instagram", "maria"), ("whatsapp", "unknown")]
)
def test_what_names_nobody_is_refused(source: str, external_id: str) -> None:
    result = prosa("key", source, external_id)
    assert result.exit_code != 0
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")


def test_an_unknown_source_is_refused() -> None:
    assert prosa("key", "telegram", "123456789").exit_code == 1


def test_the_key_can_be_had_as_json() -> None:
    found = document(prosa("key", "instagram", "17841400000000000", "--json"))
    assert found["conversation_key"] == "instagram:17841400000000000"
    assert found["kind"] == "IGSID"


def test_the_region_completes_a_number_without_a_country() -> None:
    assert prosa("key", "whatsapp", "912345678", "--region", "pt").stdout == "whatsapp:+351912345678\n"
