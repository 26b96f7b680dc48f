"""Taking people from a file into a list at the terminal."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from tests.integration.cli.operator import Operator
from tests.world import World

TARGETS = ("identity", "crm", "outreach")


@pytest.mark.req("OU-02")
async def test_a_thousand_rows_of_which_three_are_bad_and_once_more(
    operator: Operator, world: World, tmp_path: Path
) -> None:
    name = f"Padaria {uuid4().hex[:6]}"
    made = await operator.prosa("org", "create", "--name", name, "--admin", "ana@padaria.example", "--json")
    rows = [f"Pessoa {number};+55119{number:08d}" for number in range(1001, 1998)]
    bad = {3: "Sem número;", 501: "Curta;123", 999: "Ana\u202egpj.exe;+5511911112222"}
    for line, row in bad.items():
        rows.insert(line - 2, row)
    file = tmp_path / "big.csv"
    file.write_text("\n".join(["nome;telefone", *rows, ""]))
    words = ("contacts", "import", str(file), "--org", name)

    tried = await operator.prosa(*words, "--dry-run", "--json")
    assert (tried.code, tried.document["rows"], tried.document["at_fault"]) == (0, 1000, 3)
    members = "select count(*) as count from outreach.contact_list_members where organization_id = %s"
    organization_id = made.document["organization_id"]
    assert (await world.rows(members, organization_id))[0]["count"] == 0

    first = await operator.prosa(*words, "--json")
    assert first.code == 0
    size = file.stat().st_size
    assert f"{size} of {size} bytes uploaded" in first.err
    assert [first.document[what] for what in ("rows", "created", "existing", "at_fault")] == [1000, 997, 0, 3]
    assert [(error["line"], error["reason"]) for error in first.document["errors"]] == [
        (3, "IDENTITY_MISSING"),
        (501, "PHONE_INVALID"),
        (999, "ROW_MALFORMED"),
    ]
    assert all(error["message"] for error in first.document["errors"])
    assert (await world.rows(members, organization_id))[0]["count"] == 997

    again = await operator.prosa(*words)
    assert again.code == 0
    assert "1000 rows read" in again.out
    assert "new       0" in again.out
    assert "known     997" in again.out
    assert "line 501  PHONE_INVALID  123" in again.out
    assert "\u202e" not in again.out
    assert (await world.rows(members, organization_id))[0]["count"] == 997


async def test_what_is_no_table_is_refused_with_what_it_holds(operator: Operator, tmp_path: Path) -> None:
    name = f"Padaria {uuid4().hex[:6]}"
    await operator.prosa("org", "create", "--name", name, "--admin", "ana@padaria.example", "--json")
    file = tmp_path / "notas.csv"
    file.write_text("nota;valor\n1;2\n")
    refused = await operator.prosa_from_the_start("contacts", "import", str(file), "--org", name)
    assert refused.code != 0
    assert "one with the phone, or with the external id, is needed" in refused.err
