"""The OpenAPI 3.1 document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chassis.transcoding.fields import EXAMPLE_ID
from gateway.limits import (
    API_KEY_LENGTH_MAX,
    IDEMPOTENCY_KEY_LENGTH_MAX,
)
from gateway.openapi.comments import DeclaredError, comments
from gateway.openapi.operations import (
    GENERAL_ERRORS,
    Operation,
    example_message,
    http_status,
    request_example,
    status_phrase,
)
from gateway.openapi.schemas import Schema, Schemas
from gateway.problems import PROBLEM_TYPE
from gateway.senders import SENDERS
from gateway.sessions import PLAIN_COOKIE, SECURE_COOKIE

VERSION = "1"
TOKEN_PATH = "/api/v1/token"  # noqa: S105 - a path
_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"
_PROBLEM = {"$ref": "#/components/schemas/Problem"}

_BODY_ERRORS = ((408, "BODY_SLOW"), (413, "BODY_TOO_LARGE"), (415, "CONTENT_ENCODING_UNSUPPORTED"))

INTRODUCTION = """\
The back office of a business that sells by conversation.

Send `X-Api-Key: <key>`, or `Authorization: Bearer <token>` with the token of a person who signed in. A browser has the
cookie of `POST /api/v1/session` instead, and sends `csrf_token` in `X-Prosa-Csrf` with every write. Field names are as
here; empty fields are present in answers, and blank texts for numbers, times and enums count as absent in requests.
Unknown fields are refused. Times are RFC 3339 in UTC. Lists take `page_size` and `page_token` and answer
`next_page_token`, empty on the last page.
What creates something takes `request_id`, or an `Idempotency-Key` header of any text: a retry answers as the first
call did.
Errors are problem+json (RFC 9457); decide by `reason`. `X-Correlation-Id` is accepted, passed on and answered.\
"""


def build(operations: Sequence[Operation]) -> dict[str, Any]:
    """Answers the document of all operations and of the routes written by hand."""
    schemas = Schemas()
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        binding = operation.binding
        paths.setdefault(binding.template, {})[binding.http_method.lower()] = _operation(operation, schemas)
    for path, item in _by_hand().items():
        paths.setdefault(path, {}).update(item)
    _add_token_form(paths[TOKEN_PATH]["post"])
    schemas.components["Problem"] = _problem_schema()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Prosa",
            "version": VERSION,
            "description": INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"api_key": []}, {"session": []}],
        "tags": _tags(operations),
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "api_key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": SECURE_COOKIE,
                    "description": f"Of a person in a browser; on this machine without TLS it is `{PLAIN_COOKIE}`.",
                },
                # Not asked for by name: where this token comes from, its bearer need not say.
                "oauth2": {"type": "oauth2", "flows": {"clientCredentials": {"tokenUrl": TOKEN_PATH, "scopes": {}}}},
            },
        },
    }


def _tags(operations: Sequence[Operation]) -> list[dict[str, str]]:
    described: dict[str, str] = {}
    for operation in operations:
        described.setdefault(operation.group, comments().get(operation.binding.rpc.containing_service.full_name, ""))
    by_hand = {
        "Webhooks": "Where providers send what they have.",
        "Live": "Facts as they happen.",
        "Health": "Whether it runs.",
    }
    return [{"name": name, "description": text} for name, text in (described | by_hand).items()]


def _operation(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    binding = operation.binding
    found: dict[str, Any] = {
        "operationId": operation.operation_id,
        "tags": [operation.group],
        "summary": operation.summary,
        "description": f"{operation.description}\n\n{operation.permission}".strip(),
        "parameters": _parameters(operation, schemas),
    }
    if operation.anonymous:
        found["security"] = []
    if binding.body:
        content = {"schema": _body_schema(operation, schemas), "example": request_example(operation)}
        found["requestBody"] = {"required": True, "content": {_JSON: content}}
    found["responses"] = {
        "200": {
            "description": "Done.",
            "headers": {"X-Correlation-Id": {"schema": {"type": "string"}}},
            "content": {
                _JSON: {
                    "schema": schemas.reference(binding.rpc.output_type),
                    "example": example_message(binding.rpc.output_type),
                }
            },
        },
        **_errors(operation),
    }
    return found


def _parameters(operation: Operation, schemas: Schemas) -> list[dict[str, Any]]:
    binding = operation.binding
    fields = binding.rpc.input_type.fields_by_name
    required = set(schemas.required(binding.rpc.input_type))
    found = [_parameter("path", name, schemas.field(fields[name]), required=True) for name in binding.path_fields]
    found += [
        _parameter("query", field.name, schemas.field(field), required=field.name in required)
        for field in binding.query_fields
    ]
    if operation.takes_request_id:
        schema = {
            "type": "string",
            "maxLength": IDEMPOTENCY_KEY_LENGTH_MAX,
            "description": "Any text that names this attempt; stands in for request_id.",
        }
        found.append(_parameter("header", "Idempotency-Key", schema, required=False))
    return found


def _parameter(place: str, name: str, schema: Schema, *, required: bool) -> dict[str, Any]:
    parameter: dict[str, Any] = {"name": name, "in": place, "required": required}
    schema = dict(schema)
    if "description" in schema:
        parameter["description"] = schema.pop("description")
    if isinstance(schema.get("type"), list):
        # A query cannot say null: what is absent is not there.
        schema["type"] = schema["type"][0]
    return {**parameter, "schema": schema}


def _body_schema(operation: Operation, schemas: Schemas) -> Schema:
    request = operation.binding.rpc.input_type
    if operation.binding.body != "*":
        return schemas.field(request.fields_by_name[operation.binding.body])
    if not operation.binding.path_fields:
        return schemas.reference(request)
    schema: Schema = {
        "type": "object",
        "properties": {field.name: schemas.field(field) for field in operation.body_fields},
        "additionalProperties": False,
    }
    required = [name for name in schemas.required(request) if name not in operation.binding.path_fields]
    return {**schema, "required": required} if required else schema


def _errors(operation: Operation) -> dict[str, Any]:
    """Answers the responses of errors, by status, each naming the reasons it is given for."""
    by_status: dict[int, list[str]] = {}
    # Of a key that may not call it: it lacks the scope, or there is none that would do.
    impossible = "SCOPE_MISSING" if operation.people_only else "PEOPLE_ONLY"
    general = [error for error, _ in GENERAL_ERRORS if error.reason != impossible]
    if operation.anonymous:
        general = [
            error
            for error in general
            # Who has no cookie yet must still not be signed in or out by another's page.
            if (error.reason == "CSRF_INVALID" and (operation.binding.cookie_in or operation.binding.cookie_out))
            or error.code not in ("UNAUTHENTICATED", "PERMISSION_DENIED")
        ]
    if operation.binding.path_fields:
        # An id that a path cannot hold leads nowhere.
        general.append(DeclaredError("NOT_FOUND", "PATH_NOT_FOUND"))
    if operation.takes_request_id:
        general.append(DeclaredError("ALREADY_EXISTS", "REQUEST_ID_REUSED"))
    for error in (*operation.errors, *general):
        reasons = by_status.setdefault(http_status(error.code), [])
        if error.reason not in reasons:
            reasons.append(error.reason)
    responses: dict[str, Any] = {
        str(status): _problem_response(f"{status_phrase(status)}: {', '.join(reasons)}.")
        for status, reasons in sorted(by_status.items())
    }
    if operation.binding.body:
        for status, reason in _BODY_ERRORS:
            responses[str(status)] = _problem_response(f"{status_phrase(status)}: {reason}.")
    responses["default"] = _problem_response("Any other error.")
    return responses


def _problem_response(description: str) -> dict[str, Any]:
    return {"description": description, "content": {PROBLEM_TYPE: {"schema": _PROBLEM}}}


def _problem_schema() -> Schema:
    text = {"type": "string"}
    return {
        "type": "object",
        "description": "An error (RFC 9457).",
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": text,
            "status": {"type": "integer"},
            "detail": {**text, "description": "A sentence that a person can act on."},
            "reason": {**text, "description": "What programs decide by.", "examples": ["CONTACT_NOT_FOUND"]},
            "violations": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"field": text, "description": text},
                    "required": ["field", "description"],
                },
            },
            "metadata": {"type": "object", "additionalProperties": text},
            "correlation_id": text,
        },
        "required": ["type", "title", "status", "detail", "reason", "violations", "metadata", "correlation_id"],
    }


def _by_hand() -> dict[str, dict[str, Any]]:
    """Answers the routes that no contract binds."""
    key = _parameter("path", "connection_key", {"type": "string"}, required=True)
    event = _parameter("path", "event", {"type": "string", "examples": ["messages-upsert"]}, required=True)
    webhooks: dict[str, dict[str, Any]] = {}
    for path, sender in SENDERS.items():
        name, bound = path.title(), sender.body_bytes_max
        address = f"/webhooks/{path}/{{connection_key}}"
        webhooks[address] = {"post": _webhook(f"accept{name}Webhook", f"A webhook of {name}.", bound, [key])}
        if sender.event_behind:
            by_event = _webhook(f"accept{name}Event", f"A webhook of {name}, by event.", bound, [key, event])
            webhooks[address + "/{event}"] = {"post": by_event}
    return webhooks | {
        "/api/chatwoot/webhook": {
            "post": _legacy_webhook(),
            "get": _open("getChatwootWebhook", "Webhooks", "Says that the legacy address is there.", {"200": "It is."}),
        },
        "/api/v1/stream": {"get": _stream()},
        "/api/v1/contact-imports/{contact_import_id}/file": {"put": _import_file()},
        "/api/v1/contact-imports/{contact_import_id}/errors.csv": {"get": _import_errors()},
        "/healthz": {"get": _open("getLiveness", "Health", "Whether the process lives.", {"200": "It does."})},
        "/health": {"get": _open("getHealth", "Health", "The same as /healthz.", {"200": "It does."})},
        "/readyz": {
            "get": _open(
                "getReadiness",
                "Health",
                "Whether every dependency can be used.",
                {"200": "All can.", "503": "One cannot; the body names each."},
            )
        },
    }


def _add_token_form(operation: dict[str, Any]) -> None:
    """Says what the token's path understands besides JSON: the form of OAuth 2, answered in its words."""
    text = {"type": "string"}
    operation["description"] += (
        "\n\nOAuth 2 libraries send a form (RFC 6749, section 4.4): the key as `client_secret`, or as the password of "
        "HTTP Basic. `client_id` may be anything. Errors of a form have `error` and `error_description`."
    )
    operation["requestBody"]["content"][_FORM] = {
        "schema": {
            "type": "object",
            "properties": {
                "grant_type": {**text, "enum": ["client_credentials"]},
                "client_id": text,
                "client_secret": {**text, "maxLength": API_KEY_LENGTH_MAX, "examples": ["ncrm_…"]},
                "scope": {**text, "description": "A token has all scopes of its key; they are answered."},
            },
            "required": ["grant_type"],
        }
    }
    error = {"type": "object", "properties": {"error": text, "error_description": text}, "required": ["error"]}
    for status in ("400", "401"):
        operation["responses"][status]["content"][_JSON] = {"schema": error}


def _open(operation_id: str, tag: str, summary: str, responses: dict[str, str]) -> dict[str, Any]:
    return {
        "operationId": operation_id,
        "tags": [tag],
        "summary": summary,
        "security": [],
        "responses": {
            status: {"description": text, "content": {_JSON: {"schema": {"type": "object"}}}}
            for status, text in responses.items()
        },
    }


def _webhook(operation_id: str, summary: str, bytes_max: int, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    size = f"{bytes_max // 1024 // 1024} MiB"
    found = _open(
        operation_id,
        "Webhooks",
        summary,
        {"200": "Stored, now or before: `success` is true and `webhook_event_id` names it."},
    )
    found["description"] = (
        "Answered within 4 seconds, and with 200 only after the webhook is stored for good. "
        f"The body may have {size}; its bytes are checked against the connection's secret as they come."
    )
    found["parameters"] = parameters
    found["requestBody"] = {"required": True, "content": {_JSON: {"schema": {}}}}
    found["responses"] |= {
        "401": _problem_response("Unauthorized: the signature is missing, wrong or stale."),
        "404": _problem_response("Not Found: CONNECTION_NOT_FOUND."),
        "413": _problem_response(f"Content Too Large: above {size}."),
        "503": _problem_response("Service Unavailable: not stored; send it again after Retry-After."),
    }
    return found


def _legacy_webhook() -> dict[str, Any]:
    answers = {
        "200": "`success` is true; `ignored` says why where it is nothing of ours.",
        "400": "`error` says what is wrong.",
        "401": "Invalid signature.",
        "413": "Too large.",
        "503": "Not stored; send it again after Retry-After.",
    }
    found = _open("acceptLegacyChatwootWebhook", "Webhooks", "A webhook of Chatwoot, to the one old address.", answers)
    found["description"] = "The connection is found by account and inbox in the body, or by X-Organization-Id."
    header = {"type": "string", "format": "uuid", "examples": [EXAMPLE_ID]}
    found["parameters"] = [_parameter("header", "X-Organization-Id", header, required=False)]
    found["requestBody"] = {"required": True, "content": {_JSON: {"schema": {}}}}
    return found


def _import_file() -> dict[str, Any]:
    part = {
        "type": "string",
        "pattern": r"^bytes [0-9]+-[0-9]+/([0-9]+|\*)$",
        "description": "Where in the file the body begins, if it is not all of it.",
    }
    return {
        "operationId": "uploadContactImportFile",
        "tags": ["Lists"],
        "summary": "Uploads an import's CSV file, as it stands.",
        "description": (
            "The file is kept in parts while it comes. Where the upload breaks off, send it once more: what is kept "
            "already is found again. Or send only the rest, with Content-Range.\n\nMay be called by a person with the "
            "role agent or above or an API key with the scope outreach.write."
        ),
        "parameters": [
            _parameter("path", "contact_import_id", {"type": "string", "format": "uuid"}, required=True),
            _parameter("header", "Content-Range", part, required=False),
        ],
        "requestBody": {
            "required": True,
            "content": {"text/csv": {"schema": {"type": "string", "format": "binary"}}},
        },
        "responses": {
            "200": {
                "description": "The import.",
                "content": {_JSON: {"schema": {"$ref": "#/components/schemas/outreach.ContactImport"}}},
            },
            "400": _problem_response("Bad Request: FIELD_INVALID, ID_INVALID, OFFSET_INVALID, IMPORT_BEGUN."),
            "401": _problem_response("Unauthorized: UNAUTHENTICATED, TOKEN_INVALID, TOKEN_EXPIRED."),
            "403": _problem_response("Forbidden: ROLE_TOO_LOW, SCOPE_MISSING, CSRF_INVALID."),
            "404": _problem_response("Not Found: CONTACT_IMPORT_NOT_FOUND."),
            "429": _problem_response("Too Many Requests: FILE_TOO_LARGE, IMPORTS_LIMITED."),
        },
    }


def _import_errors() -> dict[str, Any]:
    return {
        "operationId": "downloadImportErrors",
        "tags": ["Lists"],
        "summary": "The rows of an import that were not taken in, as CSV.",
        "description": (
            "By line, with the columns line, column, value, reason and message. A cell that a spreadsheet would work "
            "out begins with an apostrophe.\n\nMay be called by a person with the role viewer or above or an API key "
            "with the scope outreach.read."
        ),
        "parameters": [_parameter("path", "contact_import_id", {"type": "string", "format": "uuid"}, required=True)],
        "responses": {
            "200": {"description": "The rows.", "content": {"text/csv": {"schema": {"type": "string"}}}},
            "400": _problem_response("Bad Request: ID_INVALID."),
            "401": _problem_response("Unauthorized: UNAUTHENTICATED, TOKEN_INVALID, TOKEN_EXPIRED."),
            "403": _problem_response("Forbidden: ROLE_TOO_LOW, SCOPE_MISSING."),
            "404": _problem_response("Not Found: CONTACT_IMPORT_NOT_FOUND."),
        },
    }


def _stream() -> dict[str, Any]:
    position = {"type": "string", "pattern": "^[0-9]{1,19}$", "description": "The id of the last event seen."}
    types = {"type": "array", "items": {"type": "string"}, "description": "Only these facts; all when absent."}
    return {
        "operationId": "streamFacts",
        "tags": ["Live"],
        "summary": "The organization's facts as server-sent events.",
        "description": (
            "Each event has the fact's position as `id`, its type as `event`, and as `data` a JSON object with "
            "position, event_id, type, organization_id, event_time and data. A comment comes every 15 s. An event "
            "`problem` says why the stream ends; with status 410 the position is older than the feed: load anew and "
            "connect without it.\n\nMay be called by a person with the role viewer or above or an API key with the "
            "scope events.read."
        ),
        "parameters": [
            _parameter("header", "Last-Event-ID", position, required=False),
            _parameter("query", "last_event_id", position, required=False),
            _parameter("query", "types", types, required=False),
        ],
        "responses": {
            "200": {"description": "The stream.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
            "400": _problem_response("Bad Request: FIELD_INVALID."),
            "401": _problem_response("Unauthorized: UNAUTHENTICATED, TOKEN_INVALID, TOKEN_EXPIRED."),
            "403": _problem_response("Forbidden: ROLE_TOO_LOW, SCOPE_MISSING."),
            "429": _problem_response("Too Many Requests: STREAM_LIMIT_REACHED."),
        },
    }
