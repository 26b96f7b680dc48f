"""The page that people read: plain HTML with its own style, no script, nothing fetched from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from typing import Any

from chassis.transcoding.plans import is_cookie
from gateway.openapi.comments import comments, reasons
from gateway.openapi.document import INTRODUCTION
from gateway.openapi.operations import (
    EXAMPLE_URL,
    GENERAL_ERRORS,
    Operation,
    curl_example,
    example_message,
    http_status,
)
from gateway.openapi.schemas import Schema, Schemas

FIRST_CALL = "EnsureContact"
GET_A_KEY = (
    "1. Get a key. Whoever runs Prosa makes one, and sees it once: `prosa api-key create --name n8n --scope '*'`. With "
    "`prosa up --demo` there is one already: `api_key` in its `bootstrap.json`. Over HTTP a person with the role "
    "admin makes keys, by the token that signing in with a second factor (mfa_code) answers; a key cannot make keys:"
)
ENSURE_FIRST = (
    "2. Ensure the contact. The contact, the deal and the canonical key of whoever wrote, in one call, as often as you "
    "like:"
)
FOLLOW = "3. Follow what happens. Every fact comes once and in order; what went wrong is an error with a reason:"
NESTED_DEPTH_MAX = 3
"""So deep a request is shown where it is explained; what lies deeper stands among the types."""


def render(operations: Sequence[Operation], style: str) -> str:
    """Answers the whole page."""
    groups = [(name, list(members)) for name, members in groupby(operations, key=lambda item: item.group)]
    schemas = Schemas()
    body = "".join(_group(name, members, schemas) for name, members in groups)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Prosa API</title><style>{style}</style></head>"
        f'<body><div class="layout">{_navigation(groups)}<main><h1>Prosa API</h1>'
        f"{_introduction()}{_start_here(operations)}{body}"
        f"{_by_hand()}{_types(schemas)}{_general_errors(operations)}</main></div></body></html>"
    )


def _navigation(groups: Iterable[tuple[str, list[Operation]]]) -> str:
    parts = ['<nav aria-label="Operations"><a href="/"><strong>prosa.</strong></a>']
    parts.append('<h2>Begin</h2><ul><li><a href="#start">Start here</a></li></ul>')
    for name, members in groups:
        links = "".join(
            f'<li><a href="#{escape(item.operation_id)}">{escape(item.operation_id)}</a></li>' for item in members
        )
        parts.append(f"<h2>{escape(_title(name))}</h2><ul>{links}</ul>")
    parts.append(
        '<h2>More</h2><ul><li><a href="#webhooks">Webhooks</a></li><li><a href="#oauth">OAuth 2</a></li>'
        '<li><a href="#live">Live updates</a></li>'
        '<li><a href="#types">Types</a></li><li><a href="#errors">Errors</a></li>'
        '<li><a href="/api/openapi.json">OpenAPI 3.1</a></li></ul></nav>'
    )
    return "".join(parts)


def _introduction() -> str:
    return "".join(f"<p>{_text(part)}</p>" for part in INTRODUCTION.split("\n\n"))


def _start_here(operations: Sequence[Operation]) -> str:
    """Where a key comes from, and the call that nearly every flow makes first."""
    ensure = next((item for item in operations if item.operation_id == FIRST_CALL), None)
    if ensure is None:
        return ""
    answer = json.dumps(example_message(ensure.binding.rpc.output_type), indent=2, ensure_ascii=False)
    return (
        '<section class="group" id="start"><h2>Start here</h2>'
        f"<p>{_text(GET_A_KEY)} {_link('CreateSession')}, {_link('CreateApiKey')}.</p>"
        "<pre><code>PROSA_API_KEY=ncrm_…\nPROSA_TOKEN=eyJ…    # of CreateSession: for what no key may do</code></pre>"
        f"<p>{_text(ENSURE_FIRST)} {_link(FIRST_CALL)}.</p>"
        f"<pre><code>{escape(curl_example(ensure))}</code></pre>"
        f"<details><summary>The answer</summary><pre><code>{escape(answer)}</code></pre></details>"
        f'<p>{_text(FOLLOW)} <a href="#live">Live updates</a>, <a href="#errors">errors</a>.</p></section>'
    )


def _link(operation_id: str) -> str:
    return f'<a href="#{escape(operation_id)}">{escape(operation_id)}</a>'


def _types(schemas: Schemas) -> str:
    """Every message that a request or an answer holds, each once; those that hold others lead on to them."""
    parts = []
    # Asking for a field may add what lies in it: the list grows while it is gone through.
    done: set[str] = set()
    while left := sorted(set(schemas.components) - done):
        done.update(left)
        for name in left:
            schema = schemas.components[name]
            if "properties" not in schema:
                continue
            rows = [
                (field, "", value, field in schema.get("required", ())) for field, value in schema["properties"].items()
            ]
            title = name.rpartition(".")[2]
            parts.append((name, f'<article id="type-{escape(name)}">{_fields(title, rows, schemas)}</article>'))
    body = "".join(text for _, text in sorted(parts))
    return f'<section class="group" id="types"><h2>Types</h2>{body}</section>'


def _group(name: str, members: list[Operation], schemas: Schemas) -> str:
    service = members[0].binding.rpc.containing_service
    about = comments().get(service.full_name, "")
    body = "".join(_operation(item, schemas) for item in members)
    title = f'<h2>{escape(_title(name))}</h2><p class="soft">{_text(about)}</p>'
    return f'<section class="group" id="{escape(name.lower())}">{title}{body}</section>'


def _operation(item: Operation, schemas: Schemas) -> str:
    binding = item.binding
    method = binding.http_method
    parts = [
        f'<article class="operation" id="{escape(item.operation_id)}">',
        f'<h3><span class="method {method.lower()}">{method}</span><code>{escape(binding.template)}</code></h3>',
        f"<p>{_text(item.description)}</p>" if item.description else "",
        f'<p class="soft">{_text(item.permission)}</p>',
    ]
    fields = binding.rpc.input_type.fields_by_name
    required = set(schemas.required(binding.rpc.input_type))
    rows = [(name, "path", schemas.field(fields[name]), True) for name in binding.path_fields]
    rows += [(field.name, "query", schemas.field(field), field.name in required) for field in binding.query_fields]
    rows += [(field.name, "body", schemas.field(field), field.name in required) for field in item.body_fields]
    if rows:
        parts.append(_fields("Request", _with_nested(rows, schemas), schemas))
    output = binding.rpc.output_type
    answered = [(field.name, "", schemas.field(field), False) for field in output.fields if not is_cookie(field)]
    parts.append(_fields("Answer", answered, schemas))
    if item.errors:
        listed = "".join(
            f"<tr><td>{http_status(error.code)}</td><td><code>{escape(error.reason)}</code></td>"
            f"<td>{_text(_sentence(error.reason))}</td></tr>"
            for error in item.errors
        )
        parts.append(f"<h4>Errors</h4><table><tbody>{listed}</tbody></table>")
    example = json.dumps(example_message(output), indent=2, ensure_ascii=False)
    parts.append(
        f"<h4>Example</h4><pre><code>{escape(curl_example(item))}</code></pre>"
        f"<details><summary>The answer</summary><pre><code>{escape(example)}</code></pre></details></article>"
    )
    return "".join(parts)


def _title(group: str) -> str:
    """Says a group's name as people write it: "Webhook event" for "WebhookEvent"."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", group)
    return "CRM" if group == "Crm" else words.capitalize()


def _with_nested(
    rows: list[tuple[str, str, Schema, bool]], schemas: Schemas, depth: int = 0
) -> list[tuple[str, str, Schema, bool]]:
    """The rows, each followed by those of the message in it: "stages[].label"."""
    found = []
    for name, place, schema, required in rows:
        found.append((name, place, schema, required))
        component = _component(schema)
        inner = schemas.components[component] if component else {}
        if depth < NESTED_DEPTH_MAX and "properties" in inner:
            prefix = f"{name}[]." if schema.get("type") == "array" else f"{name}."
            nested = [
                (prefix + field, place, value, field in inner.get("required", ()))
                for field, value in inner["properties"].items()
            ]
            found += _with_nested(nested, schemas, depth + 1)
    return found


def _component(schema: Schema) -> str:
    """The name of the component that a field holds, in a list or not; none for plain values."""
    held = schema.get("items", schema)
    held = held["anyOf"][0] if "anyOf" in held else held
    return str(held.get("$ref", "")).rpartition("/")[2]


def _fields(title: str, rows: list[tuple[str, str, Schema, bool]], schemas: Schemas) -> str:
    listed = "".join(
        f"<tr><td><code>{escape(name)}</code>{_required(required)}</td>"
        f'<td class="soft">{_linked(place, schema, schemas)}</td>'
        f"<td>{_text(str(schema.get('description', '')))}</td></tr>"
        for name, place, schema, required in rows
    )
    return f'<h4>{escape(title)}</h4><div class="wide"><table><tbody>{listed}</tbody></table></div>'


def _linked(place: str, schema: Schema, schemas: Schemas) -> str:
    """Where a value stands and what it is, leading to the type where it holds one."""
    words = " · ".join(part for part in (place, _kind(schema, schemas)) if part)
    component = _component(schema)
    if component and "properties" in schemas.components[component]:
        return f'<a href="#type-{escape(component)}">{escape(words)}</a>'
    return escape(words)


def _required(required: bool) -> str:
    return ' <span class="tag">required</span>' if required else ""


def _kind(schema: Schema, schemas: Schemas) -> str:
    """Says in a few words what a value is: "text, at most 200", "list of Contact", "WHATSAPP or INSTAGRAM"."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        values = [value for value in schemas.components[name].get("enum", ()) if value != "UNSPECIFIED"]
        return " or ".join([", ".join(values[:-1]), values[-1]]) if len(values) > 1 else name.rpartition(".")[2]
    if "anyOf" in schema:
        return f"{_kind(schema['anyOf'][0], schemas)} or null"
    kinds: Any = schema.get("type", "anything")
    kind = kinds[0] if isinstance(kinds, list) else kinds
    words = {"string": "text", "integer": "whole number"}.get(kind, str(kind))
    if kind == "array":
        words = f"list of {_kind(schema['items'], schemas)}"
    if "contentEncoding" in schema:
        words = "bytes in base64"
    if schema.get("format") in ("uuid", "email", "uri", "date-time"):
        words = {"date-time": "time", "uuid": "UUID", "email": "e-mail", "uri": "URL"}[schema["format"]]
    for keyword, phrase in (
        ("minLength", "at least {}"),
        ("maxLength", "at most {}"),
        ("minimum", "from {}"),
        ("exclusiveMinimum", "above {}"),
        ("maximum", "to {}"),
        ("maxItems", "at most {} items"),
    ):
        if keyword in schema:
            words += ", " + phrase.format(schema[keyword])
    return words


def _by_hand() -> str:
    return (
        '<section class="group" id="webhooks"><h2>Webhooks</h2>'
        "<p>Providers post to <code>/webhooks/chatwoot/{connection_key}</code> and "
        "<code>/webhooks/evolution/{connection_key}</code> (also with the event's name behind it). A 200 means that "
        "the webhook is stored for good; 401 that its signature is wrong, 404 that no connection has this address, "
        "413 that it is too large, 503 that it should be sent again. An answer comes within 4 seconds.</p></section>"
        '<section class="group" id="oauth"><h2>OAuth 2</h2>'
        "<p><code>POST /api/v1/token</code> also takes the form of OAuth 2 client credentials: "
        "<code>grant_type=client_credentials</code> and the key as <code>client_secret</code>, or as the password of "
        "HTTP Basic; the client id may be anything. Errors then have <code>error</code> and "
        "<code>error_description</code>.</p>"
        f"<pre><code>curl {EXAMPLE_URL}/api/v1/token \\\n"
        '  -u "n8n:$PROSA_API_KEY" -d grant_type=client_credentials</code></pre></section>'
        '<section class="group" id="live"><h2>Live updates</h2>'
        "<p><code>GET /api/v1/stream</code> sends the organization's facts as server-sent events; "
        "<code>Last-Event-ID</code> resumes, <code>types</code> chooses.</p>"
        f"<pre><code>curl -N {EXAMPLE_URL}/api/v1/stream \\\n"
        '  -H "X-Api-Key: $PROSA_API_KEY" -H "Last-Event-ID: 4711"</code></pre></section>'
    )


def _general_errors(operations: Sequence[Operation]) -> str:
    known = {error.reason: http_status(error.code) for item in operations for error in item.errors}
    known |= {error.reason: http_status(error.code) for error, _ in GENERAL_ERRORS}
    for name, reason in reasons().items():
        if name != "UNSPECIFIED" and (reason.code or reason.status):
            known[name] = reason.status or http_status(reason.code)
    told = {error.reason: sentence for error, sentence in GENERAL_ERRORS}
    rows = "".join(
        f'<tr id="{escape(name)}"><td>{status}</td><td><code>{escape(name)}</code></td>'
        f"<td>{_text(_sentence(name) or told.get(name, ''))}</td></tr>"
        for name, status in sorted(known.items())
    )
    return (
        '<section class="group" id="errors"><h2>Errors</h2><p>Every error is <code>application/problem+json</code> '
        "with type, title, status, detail, reason, violations, metadata and correlation_id.</p>"
        f'<div class="wide"><table><tbody>{rows}</tbody></table></div></section>'
    )


def _sentence(reason: str) -> str:
    known = reasons().get(reason)
    return known.sentence if known else ""


def _text(text: str) -> str:
    """Escapes a text, and shows what stands between backticks as code."""
    parts = escape(text, quote=False).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
