"""`prosa n8n lint`: the shipped template has nothing wrong, and each wrong thing is found at its node."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.workflow_rules import RULES, Finding, WorkflowUnreadable, lint, read_workflow
from tests.unit.cli.running import document, prosa

TEMPLATE = Path(__file__).resolve().parents[3] / "deploy" / "n8n" / "template-v2.json"
Workflow = dict[str, Any]


def template() -> Workflow:
    loaded: Workflow = json.loads(TEMPLATE.read_text(encoding="utf-8"))
    return loaded


def found_in(workflow: Workflow) -> list[Finding]:
    return lint(read_workflow(json.dumps(workflow).encode()))


def node(workflow: Workflow, name: str) -> Workflow:
    found: Workflow = next(item for item in workflow["nodes"] if item["name"] == name)
    return found


def assigned(workflow: Workflow, name: str) -> Workflow:
    items = node(workflow, "Entry")["parameters"]["assignments"]["assignments"]
    found: Workflow = next(item for item in items if item["name"] == name)
    return found


def add(workflow: Workflow, kind: str, version: float, **parameters: Any) -> None:
    workflow["nodes"].append(
        {"id": "x", "name": "Added", "type": kind, "typeVersion": version, "position": [1, 1], "parameters": parameters}
    )


def parameters(name: str, **changes: Any) -> Callable[[Workflow], None]:
    return lambda workflow: node(workflow, name)["parameters"].update(changes)


UNKNOWN_BODY = "={{ JSON.stringify({ ai_summary: $('Nobody').item.json.a, stage: 1 }) }}"
REAL_SECRET = "={{ 'whsec_QUJDREVGR0hJSktM'.slice(6).base64Decode() }}"
MOVE_BODY = "={{ JSON.stringify({ deal_id: $('Ensure').item.json.deal_id, stage: $json.stage }) }}"
BREAKS: list[tuple[str, str, Callable[[Workflow], Any]]] = [
    ("workflow-shape", "", lambda workflow: workflow.pop("id")),
    ("workflow-shape", "Ensure", lambda workflow: node(workflow, "Ensure").pop("position")),
    ("workflow-shape", "Settings", lambda workflow: node(workflow, "Entry").update(name="Settings")),
    ("workflow-shape", "Nobody", lambda w: w["connections"]["Entry"]["main"][0][0].update(node="Nobody")),
    ("node-version", "Added", lambda workflow: add(workflow, "n8n-nodes-base.function", 1)),
    ("node-version", "Ensure", lambda workflow: node(workflow, "Ensure").update(typeVersion=99)),
    ("webhook-id", "Webhook", lambda workflow: node(workflow, "Webhook").pop("webhookId")),
    ("unknown-reference", "Move stage", parameters("Move stage", jsonBody=UNKNOWN_BODY)),
    ("secret-literal", "Settings", lambda w: assigned_in_settings(w, "ncrm_abcdefghijkl")),
    ("secret-literal", "Signature", parameters("Signature", secret=REAL_SECRET)),
    ("secret-literal", "Ensure", lambda w: headers(w, "Ensure").append({"name": "X-Api-Key", "value": "geheim"})),
    ("json-body", "Ensure", parameters("Ensure", jsonBody='={ "source": "{{ $json.source }}" }')),
    ("tool-unwired", "Added", lambda w: add(w, "n8n-nodes-base.httpRequestTool", 4.2, url="http://x/")),
    ("N8-01", "", lambda workflow: assigned(workflow, "source").update(name="origin")),
    ("N8-01", "", lambda workflow: assigned(workflow, "external_id").update(name="phone")),
    ("N8-01", "", lambda workflow: assigned(workflow, "conversation_key").update(name="session")),
    ("N8-01", "Entry", lambda w: assigned(w, "external_id").update(value="={{ $json.external_id || 'unknown' }}")),
    ("N8-01", "Entry", lambda w: assigned(w, "external_id").update(value="={{ $json.id ?? $json.conversation_id }}")),
    ("N8-01", "Entry", lambda w: assigned(w, "conversation_key").update(value="={{ $json.key || $json.name }}")),
    ("N8-02", "Move stage", lambda workflow: workflow["connections"].pop("Ensure")),
    ("N8-02", "Move stage", parameters("Move stage", jsonBody=MOVE_BODY)),
    ("N8-02", "Move stage", parameters("Move stage", url="=http://gateway/api/v1/deals/{{ $fromAI('deal_id') }}:move")),
    ("N8-02", "Move stage", parameters("Move stage", url="=http://gateway/api/v1/deals/{{ $json.id }}:move")),
    ("N8-03", "Move stage", parameters("Move stage", url="http://gateway/api/public/v1/deals/move-stage-by-identity")),
    ("N8-03", "Added", lambda w: add(w, "n8n-nodes-base.httpRequest", 4.2, url="=http://x/deals?phone={{ $json.p }}")),
    ("N8-04", "Added", lambda w: add(w, "n8n-nodes-base.redis", 1, operation="push", list="={{ $json.phone }}")),
    ("N8-04", "Added", lambda w: add(w, "@n8n/n8n-nodes-langchain.memoryRedisChat", 1.5, sessionKey="={{ $json.id }}")),
    ("N8-04", "Added", lambda w: add(w, "@n8n/n8n-nodes-langchain.memoryRedisChat", 1.5)),
]  # fmt: skip
NAMES = [f"{rule}-{place}" for place, (rule, *_) in enumerate(BREAKS)]


def headers(workflow: Workflow, name: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = node(workflow, name)["parameters"]["headerParameters"]["parameters"]
    return found


def assigned_in_settings(workflow: Workflow, value: str) -> None:
    node(workflow, "Settings")["parameters"]["assignments"]["assignments"][0]["value"] = value


@pytest.mark.req("N8-01", "N8-02", "N8-03", "N8-04")
def test_nothing_is_wrong_with_the_shipped_template() -> None:
    assert found_in(template()) == []


@pytest.mark.req("N8-01", "N8-02", "N8-03", "N8-04")
@pytest.mark.parametrize(
    ("rule", "at", "spoil"), BREAKS, ids=[f"{rule}-{place}" for place, (rule, *_) in enumerate(BREAKS)]
)
def test_each_wrong_thing_is_found_at_its_node(rule: str, at: str, spoil: Callable[[Workflow], Any]) -> None:
    workflow = copy.deepcopy(template())
    spoil(workflow)
    found = [item for item in found_in(workflow) if (item.rule, item.node) == (rule, at)]
    assert found, found_in(workflow)
    assert all(item.why and item.mend for item in found)


def test_every_rule_is_shown_by_a_spoiled_template() -> None:
    assert {rule for rule, *_ in BREAKS} == set(RULES)


@pytest.mark.parametrize(
    "key", ["={{ $('Entry').item.json.conversation_key }}", "=buffer:{{ $('Entry').item.json.conversation_key }}"]
)
def test_a_canonical_key_is_well(key: str) -> None:
    workflow = template()
    add(workflow, "n8n-nodes-base.redis", 1, operation="push", list=key, messageData="={{ $json.text }}")
    assert found_in(workflow) == []


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"nodes": 1}', b'{"nodes": [1]}', b"[" * 100_000, b"\xff{}", b"null"])
def test_what_is_no_workflow_is_said(raw: bytes) -> None:
    with pytest.raises(WorkflowUnreadable):
        read_workflow(raw)


def test_odd_shapes_within_a_workflow_are_findings_and_no_faults() -> None:
    odd = {"nodes": [{"name": 1, "parameters": []}, {}], "connections": {"a": {"main": [None, [1, {}]]}, "b": 3}}
    assert {found.rule for found in found_in(odd)} >= {"workflow-shape", "node-version"}


def test_the_command_ends_with_what_it_found(tmp_path: Path) -> None:
    assert prosa("n8n", "lint", str(TEMPLATE)).exit_code == 0
    spoiled = template()
    node(spoiled, "Webhook").pop("webhookId")
    (tmp_path / "spoiled.json").write_text(json.dumps(spoiled), encoding="utf-8")
    result = prosa("n8n", "lint", str(tmp_path / "spoiled.json"), "--json")
    assert result.exit_code == 1
    (found,) = document(result)["findings"]
    assert (found["rule"], found["node"]) == ("webhook-id", "Webhook")
    assert found["why"]
    assert found["mend"]
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    assert prosa("n8n", "lint", str(tmp_path / "broken.json")).exit_code == 2
    assert prosa("n8n", "lint", str(tmp_path / "missing.json")).exit_code == 1
