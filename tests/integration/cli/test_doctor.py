"""`prosa org doctor`: what must be so before an organization goes live."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest

from prosa.crm.v1 import crm_service_pb2 as crm
from prosa.crm.v1.crm_service_pb2_grpc import CrmServiceStub
from tests.integration.cli.operator import Operator
from tests.world import World


@pytest.mark.req("CR-05")
async def test_it_names_the_board_and_the_stages_it_lacks(operator: Operator, world: World, tmp_path: Path) -> None:
    name = f"Ateliê {uuid4().hex[:6]}"
    made = await operator.prosa("org", "create", "--name", name, "--admin", f"{uuid4().hex}@example.com", "--json")
    stub = world.as_service("cli", made.document["organization_id"]).stub(CrmServiceStub)
    stages = [crm.StageInput(label="Em Atendimento"), crm.StageInput(label="Fim", aliases=["finalizado"])]
    await stub.CreateBoard(
        crm.CreateBoardRequest(key="curto", name="Curto", default_board=True, stages=stages, request_id=str(uuid4()))
    )
    folder = tmp_path / "evidence"
    seen = await operator.prosa("org", "doctor", "--org", name, "--evidence", str(folder))
    assert seen.code == 1, seen.err
    assert "FAIL  administrators" in seen.out
    assert "FAIL  board_stages:curto" in seen.out
    assert "Missing: Aguardando Cliente, Informações Fornecidas, Direcionado para Canal Oficial." in seen.out
    assert "FAIL  connection: The organization has no connection with an active channel." in seen.out
    assert "Not ready to go live." in seen.out
    [file] = folder.iterdir()
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert kept["passed"] is False
    assert [item["name"] for item in kept["items"]] == ["administrators", "board_stages:curto", "connection"]
    assert json.loads(kept["items"][1]["evidence_json"])["missing"][0] == "Aguardando Cliente"
    again = await operator.prosa("org", "doctor", "--org", name, "--json")
    assert (again.code, again.document["passed"]) == (1, False)
    # Both runs are kept; nobody may change one.
    rows = await world.rows(
        "select passed, principal from ingest.rollout_reports where organization_id = %s",
        made.document["organization_id"],
    )
    assert rows == [{"passed": False, "principal": "service:cli"}] * 2


async def test_who_is_not_there_and_a_folder_that_cannot_be_written_are_usage_errors(
    operator: Operator, tmp_path: Path
) -> None:
    nobody = await operator.prosa("org", "doctor", "--org", "Ninguém")
    assert nobody.code in {1, 2}
    assert "'Ninguém'" in nobody.err
    name = f"Ateliê {uuid4().hex[:6]}"
    await operator.prosa("org", "create", "--name", name, "--admin", f"{uuid4().hex}@example.com")
    (tmp_path / "file").write_text("", encoding="utf-8")
    refused = await operator.prosa("org", "doctor", "--org", name, "--evidence", str(tmp_path / "file" / "below"))
    assert refused.code == 2
    assert "--evidence" in refused.err


async def test_a_connection_whose_channels_are_off_is_skipped(operator: Operator) -> None:
    name = f"Ateliê {uuid4().hex[:6]}"
    await operator.prosa("org", "create", "--name", name, "--admin", f"{uuid4().hex}@example.com")
    org = ("--org", name)
    await operator.prosa("connection", "create", *org, "--name", "antiga", "--account-id", "77")
    created = ("channel", "create", *org, "--connection", "antiga", "--name", "Antigo", "--source", "whatsapp")
    await operator.prosa(*created, "--inbox-id", "2")
    asked = await operator.prosa("org", "doctor", *org)
    assert "FAIL  connection:antiga" in asked.out
    await operator.prosa("channel", "update", "Antigo", *org, "--connection", "antiga", "--inactive")
    skipped = await operator.prosa("org", "doctor", *org)
    assert "skip  connection:antiga: None of its channels is active." in skipped.out
    assert "FAIL  connection: The organization has no connection with an active channel." in skipped.out
