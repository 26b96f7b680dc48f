"""What the shipped template of n8n asks of the gateway, read from the file, is answered as the template takes it.

n8n itself is no part of the suite. The few forms of expressions that the template's addresses and bodies have are read
here; one of another form fails the test.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

from prosa.identity.v1 import access_service_pb2 as access_pb
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub
from tests.harness import Harness, changed, sample
from tests.integration.main_way.receiving import MESSAGE_RECEIVED, create_endpoint, receiving, until_taken

TEMPLATE = Path(__file__).resolve().parents[3] / "deploy" / "n8n" / "template-v2.json"
STAGES = (
    "Em Atendimento",
    "Aguardando Cliente",
    "Informações Fornecidas",
    "Direcionado para Canal Oficial",
    "Finalizado",
)
SCOPES = ("contacts.write", "deals.write")
"""All that the template's note asks of its key."""
_READ = re.compile(r"(?:\$\('(?P<node>[^']+)'\)\.item\.json|\$json)(?P<path>(?:\.\w+)+)")
_AFTER_COLON = ".split(':').slice(1).join(':')"
_STRINGIFY = re.compile(r"=\{\{ JSON\.stringify\(\{ (.+) \}\) \}\}")


class Template:
    """The template's nodes, and the items that stand behind them so far."""

    def __init__(self, items: dict[str, dict[str, Any]]) -> None:
        self._nodes = {node["name"]: node for node in json.loads(TEMPLATE.read_text(encoding="utf-8"))["nodes"]}
        self.items = items

    def parameters(self, name: str) -> dict[str, Any]:
        """What a node is told."""
        found: dict[str, Any] = self._nodes[name]["parameters"]
        return found

    def value(self, expression: str, before: str) -> Any:
        """What an expression reads; ``before`` is the node whose item is at hand."""
        if expression == "$workflow.id":
            return "prosaTemplateV2"
        if expression == "$execution.id":
            return "1"
        bare, after_colon = expression.removesuffix(_AFTER_COLON), expression.endswith(_AFTER_COLON)
        match = _READ.fullmatch(bare)
        assert match is not None, f"a form that is not read here: {expression}"
        value: Any = self.items[match["node"] or before]
        for part in match["path"].strip(".").split("."):
            value = value[part]
        return value.partition(":")[2] if after_colon else value

    def text(self, written: str, before: str) -> str:
        """A text with its expressions filled in."""
        if not written.startswith("="):
            return written
        return re.sub(r"\{\{ (.+?) \}\}", lambda found: str(self.value(found[1], before)), written[1:])

    def assign(self, name: str, before: str) -> None:
        """Does what a Set node does."""
        kept = dict(self.items[before]) if self.parameters(name)["includeOtherFields"] else {}
        for item in self.parameters(name)["assignments"]["assignments"]:
            kept[item["name"]] = self.text(item["value"], before)
        self.items[name] = kept

    async def request(self, harness: Harness, api_key: str, name: str, before: str) -> None:
        """Sends what an HTTP node sends, and keeps the answer as its item."""
        told = self.parameters(name)
        body = _STRINGIFY.fullmatch(told["jsonBody"])
        assert body is not None, told["jsonBody"]
        fields = [field.split(": ", 1) for field in body[1].split(", ")]
        headers = {
            pair["name"]: self.text(pair["value"], before) for pair in told["headerParameters"]["parameters"]
        } | {"X-Api-Key": api_key}
        async with harness.session.request(
            told["method"],
            self.text(told["url"], before),
            headers=headers,
            json={key: self.value(expression, before) for key, expression in fields},
        ) as response:
            self.items[name] = await response.json()
            assert response.status == 200, self.items[name]


async def test_the_templates_requests_ensure_the_contact_and_move_the_deal(harness: Harness) -> None:
    acting = harness.world.as_service("cli", harness.organization_id)
    key = await acting.stub(AccessServiceStub).CreateApiKey(
        access_pb.CreateApiKeyRequest(name="n8n", scopes=SCOPES, request_id=str(uuid4()))
    )
    async with receiving(harness.world) as (receiver, url):
        made = await create_endpoint(harness.world, harness.organization_id, url, MESSAGE_RECEIVED)
        receiver.secret = made.secret
        said = 'Oi! "Preço", {{ chaves }} e \\ barras'
        event = await harness.deliver(changed(sample("message_created.whatsapp_cloud.incoming"), content=said))
        (post,) = await until_taken(receiver, 1)

    # As the nodes "Signed text" and "Signature" do, whose key is a text.
    signing_key = base64.b64decode(made.secret.removeprefix("whsec_")).decode("ascii")
    signed = f"{post.headers['webhook-id']}.{post.headers['webhook-timestamp']}.{post.body}"
    digest = hmac.digest(signing_key.encode(), signed.encode(), hashlib.sha256)
    assert "v1," + base64.b64encode(digest).decode() in post.headers["webhook-signature"].split(" ")

    template = Template({"Accept": {"fact": json.loads(post.body)}})
    template.assign("Entry", "Accept")
    assert template.items["Entry"]["text"] == said
    assert template.items["Entry"]["conversation_key"] == f"whatsapp:{template.items['Entry']['external_id']}"
    template.assign("Settings", "Entry")
    template.items["Settings"]["gateway_url"] = harness.url
    await template.request(harness, key.secret, "Ensure", "Settings")
    ensured = template.items["Ensure"]
    assert (ensured["contact_id"], ensured["deal_id"]) == (str(event["contact_id"]), str(event["deal_id"]))

    rules = template.parameters("Choose stage")["jsCode"]
    assert all(f"'{label}'" in rules for label in STAGES)
    for label in STAGES:
        template.items["Choose stage"] = {"stage": label, "ai_summary": f"{label}: {said}"}
        # One message moves once: each of these is another one's.
        template.items["Entry"]["message_id"] = str(uuid4())
        for _ in range(2):
            await template.request(harness, key.secret, "Move stage", "Choose stage")
            deal = template.items["Move stage"]
            assert (deal["deal_id"], deal["stage_label"]) == (ensured["deal_id"], label)
            assert deal["ai_summary"] == f"{label}: {said}"
    assert await harness.count("crm.stage_moves") == len(STAGES)
