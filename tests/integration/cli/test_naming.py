"""Commands that name things as people do, and that leave the demo's organization aside."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest

from prosa.identity.v1 import member_service_pb2 as pb
from prosa.identity.v1.member_service_pb2_grpc import MemberServiceStub
from tests.integration.cli.operator import Operator
from tests.world import AGENT, World

TARGETS = ("identity", "crm", "ingest", "gateway")


@pytest.mark.case("O8", "O9")
async def test_names_do_wherever_ids_do_whatever_their_case_and_the_only_one_need_not_be_named(
    operator: Operator, world: World, tmp_path: Path
) -> None:
    demo = await operator.prosa("org", "create", "--name", "Escola", "--admin", "a@escola.example", "--json")
    real = await operator.prosa("org", "create", "--name", "Clínica ÁGUA", "--admin", "a@agua.example", "--json")
    both = await operator.prosa("connection", "list")
    assert both.code == 2, "nothing tells that one of them is the demo's"
    home = tmp_path / "no-home"
    home.mkdir()
    (home / "demo.json").write_text(json.dumps({"organization_id": demo.document["organization_id"]}))

    # The demo's organization is left aside now, and can still be named, in any case and with any writing of an accent.
    made = await operator.prosa("connection", "create", "--name", "Chatwoot", "--account-id", "3", "--json")
    assert made.code == 0
    for name in ("clínica água", "CLI\u0301NICA a\u0301gua", real.document["organization_id"].upper()):
        listed = await operator.prosa("connection", "list", "--org", name, "--json")
        assert [item["name"] for item in listed.document["connections"]] == ["Chatwoot"], name
    assert (await operator.prosa("connection", "list", "--org", "escola", "--json")).document == {"connections": []}

    # The only connection need not be named: Chatwoot is asked (it has no address here), no argument is missed.
    checked = await operator.prosa("connection", "check")
    assert (checked.code, checked.err) == (1, "")
    assert "FAIL" in checked.out
    await operator.prosa("connection", "create", "--name", "Outro", "--account-id", "4")
    unnamed = await operator.prosa("connection", "check")
    assert unnamed.code == 2
    assert "There are 2 connections" in unnamed.err
    by_name = await operator.prosa("events", "list", "--connection", "chatWOOT", "--json")
    assert by_name.document == {"webhook_events": []}

    # A key is revoked by its name; one with the same name that was revoked before is in nobody's way.
    for _ in range(2):
        assert (await operator.prosa("api-key", "create", "--name", "n8n", "--scope", "*")).code == 0
        revoked = await operator.prosa("api-key", "revoke", "N8N", "--json")
        assert revoked.document["revoke_time"]
    nobody = await operator.prosa("api-key", "revoke", "n8n")
    assert nobody.code == 1
    assert "'n8n' is revoked already." in nobody.err


@pytest.mark.case("O9")
async def test_two_names_that_differ_by_case_alone_are_told_apart(operator: Operator) -> None:
    for name in ("Loja Sol", "LOJA SOL"):
        assert (await operator.prosa("org", "create", "--name", name, "--admin", "a@sol.example")).code == 0
    exact = await operator.prosa("connection", "list", "--org", "LOJA SOL")
    assert exact.code == 0
    neither = await operator.prosa("connection", "list", "--org", "loja sol", "--json")
    assert neither.code == 1
    assert neither.document["error"]["reason"] == "ORGANIZATION_AMBIGUOUS"


@pytest.mark.case("O9")
async def test_status_tells_what_runs_what_waits_and_what_is_dead(operator: Operator, world: World) -> None:
    metrics = f"http://127.0.0.1:{world.host.metrics_port}/metrics"
    said = await operator.prosa("status", "--json", PROSA_METRICS_URL=metrics)
    assert said.code == 0
    assert said.document["ready"] is True
    (process,) = said.document["processes"]
    assert (process["name"], process["state"]) == (world.host.grpc_address, "ready")
    assert said.document["waiting"]["count"] == 0
    assert said.document["dead_letters"] == []
    away = await operator.prosa("status", PROSA_CRM_ADDRESS="127.0.0.1:1", PROSA_METRICS_URL=metrics)
    assert away.code == 1
    assert "127.0.0.1:1 (crm)" in away.out
    assert "Not all is ready." in away.out


@pytest.mark.case("O9")
async def test_where_nothing_runs_the_place_is_told_and_what_names_it(operator: Operator, tmp_path: Path) -> None:
    for words in (("status",), ("org", "list")):
        said = await operator.prosa(*words, PROSA_GRPC_ADDRESS="")
        assert said.code == 1
        assert str(tmp_path / "no-home") in said.err
        assert "PROSA_HOME" in said.err
    mistyped = await operator.prosa("conection", "list")
    assert mistyped.code == 2
    assert "Did you mean 'connection'?" in mistyped.err
    for program in (("conection", "list", "--json"), ("events", "list", "--no-such", "--json")):
        told = await operator.prosa(*program)
        assert (told.code, told.err) == (2, "")
        assert told.document["error"]["reason"] == "COMMAND_INVALID"
    completed = await operator.prosa(_PROSA_COMPLETE="complete_bash", COMP_WORDS="prosa conn", COMP_CWORD="1")
    assert completed.out.split() == ["connection"]


async def test_a_member_is_named_by_their_e_mail_given_a_role_and_removed(operator: Operator, world: World) -> None:
    made = await operator.prosa("org", "create", "--name", "Oficina", "--admin", "dona@oficina.example", "--json")
    organization_id = UUID(made.document["organization_id"])
    cli = world.as_service("cli", organization_id).stub(MemberServiceStub)
    link = await cli.CreateInvitation(pb.CreateInvitationRequest(email="rui@oficina.example", role=AGENT))
    accept = world.as_nobody().stub(MemberServiceStub).AcceptInvitation
    await accept(pb.AcceptInvitationRequest(secret=link.secret, password="um bom segredo"))
    named = ("--org", "Oficina", "--json")
    changed = await operator.prosa("member", "role", "RUI@oficina.example", "admin", *named)
    assert (changed.code, changed.document["role"]) == (0, "admin")
    assert (await operator.prosa("member", "role", "rui@oficina.example", "boss", *named)).code == 2
    last = await operator.prosa("member", "remove", "dona@oficina.example", "--yes", *named)
    assert (last.code, "LAST_OWNER" in last.out + last.err) == (1, True)
    # Without a terminal to ask on, nothing is done that was not said twice.
    assert (await operator.prosa("member", "remove", "rui@oficina.example", *named)).code == 2
    assert (await operator.prosa("member", "remove", "rui@oficina.example", "--yes", *named)).code == 0
    listed = (await operator.prosa("member", "list", *named)).document["members"]
    assert [(item["email"], item["role"]) for item in listed] == [("dona@oficina.example", "owner")]
