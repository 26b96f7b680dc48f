"""The rules of `prosa n8n lint`: each finds one thing that n8n imports without a word and then runs wrongly. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

SIZE_MAX = 4 * 1024 * 1024
NODES_MAX = 1_000
PLACEHOLDER = "REPLACE_ME"
"""What a secret's place holds in a file that is shipped."""

VERSIONS: Mapping[str, tuple[float, ...]] = {
    "n8n-nodes-base.webhook": (2,),
    "n8n-nodes-base.respondToWebhook": (1, 1.1),
    "n8n-nodes-base.httpRequest": (4.1, 4.2),
    "n8n-nodes-base.httpRequestTool": (4.2,),
    "n8n-nodes-base.set": (3.3, 3.4),
    "n8n-nodes-base.if": (2, 2.1, 2.2, 2.3),
    "n8n-nodes-base.filter": (2, 2.1, 2.2, 2.3),
    "n8n-nodes-base.switch": (3, 3.1, 3.2),
    "n8n-nodes-base.merge": (3, 3.1, 3.2),
    "n8n-nodes-base.code": (2,),
    "n8n-nodes-base.crypto": (1,),
    "n8n-nodes-base.redis": (1,),
    "n8n-nodes-base.noOp": (1,),
    "n8n-nodes-base.splitOut": (1,),
    "n8n-nodes-base.stopAndError": (1,),
    "n8n-nodes-base.manualTrigger": (1,),
    "n8n-nodes-base.errorTrigger": (1,),
    "n8n-nodes-base.stickyNote": (1,),
    "n8n-nodes-base.wait": (1, 1.1),
    "n8n-nodes-base.splitInBatches": (3,),
    "n8n-nodes-base.scheduleTrigger": (1.2,),
    "n8n-nodes-base.executeWorkflowTrigger": (1, 1.1),
    "n8n-nodes-base.executeWorkflow": (1.1, 1.2),
    "@n8n/n8n-nodes-langchain.agent": (1.7, 2),
    "@n8n/n8n-nodes-langchain.lmChatOpenAi": (1.2,),
    "@n8n/n8n-nodes-langchain.memoryRedisChat": (1.5,),
    "@n8n/n8n-nodes-langchain.memoryBufferWindow": (1.3,),
    "@n8n/n8n-nodes-langchain.outputParserStructured": (1.2,),
    "@n8n/n8n-nodes-langchain.chainLlm": (1.6,),
}
"""Node types and versions that both lines of n8n have."""

KEYED = re.compile(r"\.redis$|\.memory\w+$")
REQUEST = re.compile(r"\.httpRequest(Tool)?$")
MOVE_BY_ID = re.compile(r"/api/v1/deals/[^/]*deal_id[^/]*:move$|/api/v1/deals/[^/]*deal_id[^/]*:close$")
LEGACY_MOVE = "/api/public/v1/deals/move-stage"
BY_IDENTITY = re.compile(r"move-stage-by-identity|deals/by-|[?&](phone|email|identity)=", re.IGNORECASE)
CANONICAL = re.compile(r"conversation_key|\bkey\b")
LOOSE_KEY = re.compile(
    r"\bphone\w*|\bemail\b|sender|remoteJid|conversation_id|conversation\.id|\bname\b", re.IGNORECASE
)
FALLBACK = re.compile(
    r"(\|\||\?\?)\s*(['\"](unknown|desconhecido|anonymous|sem[ _-]?nome)['\"]|\$?[\w.$()'\"\[\]?]*"
    r"(name|conversation_id|conversation\.id|sender\.id|Date\.now|random))",
    re.IGNORECASE,
)
SECRET = re.compile(r"whsec_(?!REPLACE_ME)[A-Za-z0-9+/_-]{8,}|ncrm_[\w-]{8,}|sk-[\w-]{16,}|eyJ[\w-]{10,}\.[\w-]{10,}")
SECRET_NAMES = re.compile(r"^(x-api-key|api_access_token|authorization|apikey|password|token)$", re.IGNORECASE)
REFERENCE = re.compile(r"\$\(\s*(['\"])(.+?)\1\s*\)|\$node\[\s*(['\"])(.+?)\3\s*\]")
FROM_AI_ID = re.compile(r"\$fromAI\(\s*['\"]\w*(deal|contact|conversation)_?id", re.IGNORECASE)


class WorkflowUnreadable(ValueError):
    """The file is no workflow; the message says why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: at which node, why it is wrong, and what to do."""

    rule: str
    node: str
    why: str
    mend: str


@dataclass(frozen=True, slots=True)
class Node:
    """One node, as far as its shape can be trusted."""

    name: str
    type: str
    version: Any
    parameters: Mapping[str, Any]
    raw: Mapping[str, Any]

    @property
    def text(self) -> str:
        """All that its parameters say."""
        return "\n".join(value for _, value in texts(self.parameters))

    @property
    def url(self) -> str:
        """The address of a request, as it is written."""
        return str(self.parameters.get("url", ""))

    @property
    def body(self) -> str:
        """The body of a request, as it is written, and its single parameters."""
        return str(self.parameters.get("jsonBody", "")) + json.dumps(
            [self.parameters.get("bodyParameters"), self.parameters.get("body")], ensure_ascii=False
        )


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow's nodes and who leads to whom."""

    raw: Mapping[str, Any]
    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str, str], ...]
    """Source, kind ("main", "ai_tool" …) and target, by name."""

    def before(self, name: str) -> set[str]:
        """The nodes from which one can be reached, through tools and models too."""
        found, waiting = set(), [name]
        while waiting:
            target = waiting.pop()
            for source, kind, end in self.edges:
                # A tool points at its agent; what comes before the agent comes before the tool.
                pairs = [(source, end)] if kind == "main" else [(source, end), (end, source)]
                for earlier, later in pairs:
                    if later == target and earlier not in found:
                        found.add(earlier)
                        waiting.append(earlier)
        return found


def read_workflow(raw: bytes) -> Workflow:
    """The workflow of a file. Raises WorkflowUnreadable."""
    if len(raw) > SIZE_MAX:
        raise WorkflowUnreadable(f"It is larger than {SIZE_MAX} bytes, which no workflow is.")
    try:
        loaded = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise WorkflowUnreadable(f"It is no JSON: {error}") from None
    if isinstance(loaded, list) and len(loaded) == 1:
        loaded = loaded[0]
    if not isinstance(loaded, dict) or not isinstance(loaded.get("nodes"), list):
        raise WorkflowUnreadable("It is no workflow of n8n: an object with nodes and connections. Export it once more.")
    if len(loaded["nodes"]) > NODES_MAX or not all(isinstance(node, dict) for node in loaded["nodes"]):
        raise WorkflowUnreadable(f"Its nodes are no list of at most {NODES_MAX} objects.")
    connections = loaded.get("connections")
    return Workflow(
        loaded,
        tuple(map(_node, loaded["nodes"])),
        tuple(_edges(connections if isinstance(connections, dict) else {})),
    )


def lint(workflow: Workflow) -> list[Finding]:
    """All that is wrong, by rule and then in the order of the nodes."""
    return [found for rule in RULES.values() for found in rule(workflow)]


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text within a value, with the name it stands under."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        # n8n writes settings as pairs of name and value.
        pair = value.get("name") if isinstance(value.get("name"), str) and "value" in value else None
        for key, item in value.items():
            yield from texts(item, pair if pair and key == "value" else str(key))
    elif isinstance(value, list):
        for item in value:
            yield from texts(item, path)


def _node(raw: Mapping[str, Any]) -> Node:
    parameters = raw.get("parameters")
    return Node(
        str(raw.get("name", "")),
        str(raw.get("type", "")),
        raw.get("typeVersion"),
        parameters if isinstance(parameters, dict) else {},
        raw,
    )


def _edges(connections: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for source, kinds in connections.items():
        for kind, outputs in kinds.items() if isinstance(kinds, dict) else ():
            for output in outputs if isinstance(outputs, list) else ():
                for end in output if isinstance(output, list) else ():
                    if isinstance(end, dict):
                        yield source, str(kind), str(end.get("node", ""))


def _shape(workflow: Workflow) -> Iterator[Finding]:
    rule = "workflow-shape"
    if not workflow.raw.get("id"):
        yield Finding(rule, "", "It has no id, and n8n's import by command ends with an error.", "Give it any own id.")
    seen: set[str] = set()
    for node in workflow.nodes:
        missing = [name for name in ("name", "type", "typeVersion", "position") if not node.raw.get(name)]
        if missing:
            yield Finding(rule, node.name, f"It has no {', '.join(missing)}.", "Export the workflow once more.")
        if node.name in seen:
            yield Finding(rule, node.name, "Two nodes have this name, and expressions name one.", "Rename one of them.")
        seen.add(node.name)
    for source, _, target in workflow.edges:
        for name in {source, target} - seen:
            yield Finding(rule, name, f"{source} → {target} names a node that is not there.", "Draw it anew.")


def _versions(workflow: Workflow) -> Iterator[Finding]:
    for node in workflow.nodes:
        known = VERSIONS.get(node.type)
        if known is None:
            yield Finding(
                "node-version",
                node.name,
                f"The type {node.type} is none that both lines of n8n have; n8n imports it and fails when it runs.",
                "Use a node of n8n itself, or an HTTP Request.",
            )
        elif node.version not in known:
            yield Finding(
                "node-version",
                node.name,
                f"Version {node.version} of {node.type} is not in both lines of n8n.",
                f"Use {', '.join(map(str, known))}.",
            )


def _webhook_id(workflow: Workflow) -> Iterator[Finding]:
    for node in workflow.nodes:
        if node.type == "n8n-nodes-base.webhook" and not node.raw.get("webhookId"):
            yield Finding(
                "webhook-id",
                node.name,
                "Without webhookId its address is not /webhook/<path>, but one that holds the workflow's id.",
                "Give it a webhookId, any UUID.",
            )


def _references(workflow: Workflow) -> Iterator[Finding]:
    names = {node.name for node in workflow.nodes}
    for node in workflow.nodes:
        for match in REFERENCE.finditer(node.text):
            wanted = match[2] or match[4]
            if wanted not in names:
                yield Finding(
                    "unknown-reference",
                    node.name,
                    f"It reads {wanted}, and no node has that name; n8n finds out when it runs.",
                    "Name the node that is meant.",
                )


def _secrets(workflow: Workflow) -> Iterator[Finding]:
    for node in workflow.nodes:
        for name, text in texts(node.parameters):
            named = SECRET_NAMES.match(name) and text and not text.startswith("=") and PLACEHOLDER not in text
            if SECRET.search(text) or named:
                yield Finding(
                    "secret-literal",
                    node.name,
                    "It holds what looks like a secret; whoever has the file has it too.",
                    "Keep it in a credential of n8n, and ask for a new one.",
                )
                break


def _json_body(workflow: Workflow) -> Iterator[Finding]:
    for node in workflow.nodes:
        body = str(node.parameters.get("jsonBody", ""))
        if "{{" in body and not re.match(r"=\s*\{\{.*JSON\.stringify\(.*\}\}\s*$", body, re.DOTALL):
            yield Finding(
                "json-body",
                node.name,
                "Its JSON is a text with holes: a quote in what a customer writes breaks it.",
                "Write ={{ JSON.stringify({ … }) }}.",
            )


def _tools(workflow: Workflow) -> Iterator[Finding]:
    tools = {source for source, kind, _ in workflow.edges if kind == "ai_tool"}
    for node in workflow.nodes:
        if node.type.endswith("Tool") and node.name not in tools:
            yield Finding(
                "tool-unwired", node.name, "No agent has it as a tool.", "Connect it to the agent's tools (ai_tool)."
            )


def _variables(workflow: Workflow) -> Iterator[Finding]:
    """N8-01: source, external_id and the canonical key are assigned once, and stand for nobody else."""
    assigned = {
        str(item.get("name")): (node, str(item.get("value", "")))
        for node in workflow.nodes
        if node.type == "n8n-nodes-base.set"
        for item in _assignments(node)
    }
    for name in ("source", "external_id", "conversation_key"):
        if name not in assigned:
            yield Finding(
                "N8-01",
                "",
                f"No Set node assigns {name}, so nothing says who writes and where.",
                f"Assign {name} from the fact in the first Set node.",
            )
        elif FALLBACK.search(assigned[name][1]):
            yield Finding(
                "N8-01",
                assigned[name][0].name,
                f"{name} falls back to something that is nobody's identity: strangers become one contact.",
                "Stop with an error where there is no identity.",
            )


def _assignments(node: Node) -> Iterator[Mapping[str, Any]]:
    found = node.parameters.get("assignments")
    items = found.get("assignments") if isinstance(found, dict) else None
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict):
            yield item


def _is_move(node: Node) -> bool:
    return bool(REQUEST.search(node.type)) and (
        ":move" in node.url or ":close" in node.url or "move-stage" in node.url or "move_stage" in node.url
    )


def _ensured(workflow: Workflow) -> Iterator[Finding]:
    """N8-02: what moves a deal moves the one that was ensured before."""
    ensuring = {node.name for node in workflow.nodes if REQUEST.search(node.type) and "contacts:ensure" in node.url}
    for node in filter(_is_move, workflow.nodes):
        said = node.url + node.body
        if not ensuring & workflow.before(node.name):
            yield Finding(
                "N8-02",
                node.name,
                "No contacts:ensure comes before it, so its deal may be another's or none.",
                "Call POST /api/v1/contacts:ensure first, and lead from it to here.",
            )
        if FROM_AI_ID.search(node.text):
            yield Finding(
                "N8-02",
                node.name,
                "The model says which deal it is, and may say any.",
                "Take deal_id from the ensured contact; $fromAI is for texts.",
            )
        elif "deal_id" not in said:
            yield Finding(
                "N8-02", node.name, "It does not name the ensured deal_id.", "Take deal_id from the ensured contact."
            )
        if "ai_summary" not in node.body:
            yield Finding(
                "N8-02", node.name, "It says nothing of why: ai_summary is missing.", "Send ai_summary with the move."
            )


def _by_identity(workflow: Workflow) -> Iterator[Finding]:
    """N8-03: stages are moved by the deal's id."""
    for node in workflow.nodes:
        if not REQUEST.search(node.type):
            continue
        loose = _is_move(node) and not MOVE_BY_ID.search(_path(node.url)) and LEGACY_MOVE not in node.url
        identified = _is_move(node) and re.search(r"\b(phone|email|external_id)\b", node.body)
        if BY_IDENTITY.search(node.url) or loose or identified:
            yield Finding(
                "N8-03",
                node.name,
                "It finds the deal by phone, e-mail or name, which several people share.",
                "POST /api/v1/deals/{deal_id}:move with the ensured deal_id.",
            )


def _path(url: str) -> str:
    return url.split("?", 1)[0].strip().rstrip("}").rstrip().rstrip("'\"`")


def _keys(workflow: Workflow) -> Iterator[Finding]:
    """N8-04: buffers and memories stand under the canonical key."""
    for node in workflow.nodes:
        if not KEYED.search(node.type):
            continue
        keys = [
            text for name, text in texts(node.parameters) if name in ("key", "list", "sessionKey", "keys", "channel")
        ]
        if not keys and not node.type.endswith("redis"):
            keys = [""]
        for text in keys:
            if not CANONICAL.search(text) or LOOSE_KEY.search(text.replace("conversation_key", "")):
                yield Finding(
                    "N8-04",
                    node.name,
                    "Its key is not the canonical one, so one person has two memories, or two people one.",
                    "Use conversation_key, such as whatsapp:+5511900004821, and nothing else.",
                )
                break


RULES: Mapping[str, Callable[[Workflow], Iterator[Finding]]] = {
    "workflow-shape": _shape,
    "node-version": _versions,
    "webhook-id": _webhook_id,
    "unknown-reference": _references,
    "secret-literal": _secrets,
    "json-body": _json_body,
    "tool-unwired": _tools,
    "N8-01": _variables,
    "N8-02": _ensured,
    "N8-03": _by_identity,
    "N8-04": _keys,
}
"""By id; the last four are the requirements that they show."""
