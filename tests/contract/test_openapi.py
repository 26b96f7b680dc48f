"""The published document against the running product: what it promises is what is answered, also to nonsense.

Requests are drawn from the document itself, right ones and wrong ones. The draws have a fixed seed: they are the same
in every run, until the document changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from requests.adapters import HTTPAdapter
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from urllib3.util import Retry

from tests.harness import Harness, open_harness
from tests.world import World

EXAMPLES_PER_OPERATION = 10
"""Of right requests, and as many of wrong ones."""
SECONDS_PER_REQUEST = 30.0
"""Longer than any call may wait for facts."""
BUSY = 503
OPERATIONS_MIN = 45
NEVER_ENDING = "GET /api/v1/stream"
"""Sends for as long as somebody listens; it has tests of its own."""
TAKES_ANYTHING = frozenset(
    {"POST /webhooks/chatwoot/{connection_key}", "POST /webhooks/evolution/{connection_key}"}
    | {"POST /webhooks/evolution/{connection_key}/{event}", "POST /api/chatwoot/webhook"}
    | {"GET /api/chatwoot/webhook", "GET /health", "GET /healthz", "GET /readyz", "DELETE /api/v1/session"}
)
"""No request to these breaks their own description: a body may be any JSON, or there is nothing to say at all."""
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

UNSTORABLE_TEXTS = ("a\x00b", "\U0010ffff" * 5_000, "9" * 400, "-1", "undefined")
NUMBERS_OUT_OF_RANGE = (2**63, 2**63 - 1, -(2**63), 2**31, 1e308, -1)
ENDS_OF_TIME = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00+23:59")
OTHER_KINDS: tuple[Any, ...] = (True, [], {}, None, "")
NONSENSE: tuple[Any, ...] = (*UNSTORABLE_TEXTS, *NUMBERS_OUT_OF_RANGE, *ENDS_OF_TIME, *OTHER_KINDS)


@pytest.fixture(scope="module")
async def harness(world: World) -> AsyncIterator[Harness]:
    """An organization with a key that may do everything."""
    async with aiohttp.ClientSession() as session:
        yield await open_harness(world, session)


def described(url: str) -> Any:
    """The document without its "default" responses, which would let every status pass."""
    document = requests.get(f"{url}/api/openapi.json", timeout=SECONDS_PER_REQUEST).json()
    for item in document["paths"].values():
        for operation in item.values():
            operation["responses"].pop("default", None)
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=url)
    return schema


# The services run in this very process and draw from the same source of chance while examples are made.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
async def test_every_operation_answers_what_its_description_promises(harness: Harness, mode: GenerationMode) -> None:
    def try_all() -> tuple[int, list[str]]:
        tried, broken = 0, []
        with requests.Session() as session:
            session.headers["X-Api-Key"] = harness.api_key
            # A kept connection that the server closes while a request is on its way is nobody's fault.
            session.mount("http://", HTTPAdapter(max_retries=Retry(total=2, allowed_methods=None)))
            for result in described(harness.url).get_all_operations():
                operation = result.ok()
                if operation.label == NEVER_ENDING:
                    continue
                tried += 1
                broken += _try(operation, mode, session)
        return tried, broken

    tried, broken = await asyncio.to_thread(try_all)
    assert tried >= OPERATIONS_MIN
    assert not broken, "\n\n".join(broken)


def _try(operation: Any, mode: GenerationMode, session: requests.Session) -> list[str]:
    """Answers what an operation's answers broke of its description; nothing where all is well."""

    @settings(
        max_examples=EXAMPLES_PER_OPERATION,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def answered_as_described(case: Any) -> None:
        response = case.call(session=session, timeout=SECONDS_PER_REQUEST)
        if response.status_code == BUSY:
            # A busy machine may say so once; whoever calls is told to try again, and it must then be answered.
            response = case.call(session=session, timeout=SECONDS_PER_REQUEST)
        case.validate_response(response, checks=CHECKS)

    run: Callable[[], None] = answered_as_described
    try:
        run()
    except Unsatisfiable:
        return [] if operation.label in TAKES_ANYTHING else [f"{operation.label}: nothing could be drawn"]
    except Exception as error:
        causes = getattr(error, "exceptions", ())
        return [f"{operation.label}: {type(error).__name__} {error} {[repr(cause)[:500] for cause in causes]}"]
    return []


@pytest.mark.timeout(600)
async def test_nonsense_in_any_single_field_is_refused_or_taken_but_never_breaks_anything(harness: Harness) -> None:
    """Every field of every query and body in turn holds what no column, calendar or number can."""
    async with harness.session.get(f"{harness.url}/api/openapi.json") as response:
        document = await response.json()
    asked, broken = 0, []
    for template, item in document["paths"].items():
        for method, operation in item.items():
            if f"{method.upper()} {template}" == NEVER_ENDING:
                continue
            for path, query, body in _nonsense(document, template, operation):
                asked += 1
                async with harness.session.request(
                    method.upper(), harness.url + path, params=query, json=body, headers={"X-Api-Key": harness.api_key}
                ) as answer:
                    if answer.status >= 500:
                        broken.append(f"{method} {path} {query} {body} → {answer.status} {await answer.text()}"[:600])
    assert asked > 1_000
    assert not broken, "\n".join(broken)


def _nonsense(document: Any, template: str, operation: Any) -> Any:
    """Answers path, query and body of each request: everything as in the examples but for one value."""
    parameters = operation.get("parameters", [])
    path = template
    for parameter in parameters:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(_example(document, parameter["schema"])))
    for parameter in parameters:
        if parameter["in"] == "query":
            for value in NONSENSE:
                if isinstance(value, str | int | float) and not isinstance(value, bool):
                    yield path, {parameter["name"]: str(value)[:400]}, None
    # A file is no JSON, and has no fields.
    if "application/json" in operation.get("requestBody", {}).get("content", {}):
        body = _example(document, operation["requestBody"]["content"]["application/json"]["schema"])
        if isinstance(body, dict):
            body.pop("request_id", None)
            for name in body:
                for value in NONSENSE:
                    yield path, {}, body | {name: value}
                if isinstance(body[name], dict):
                    for inner in body[name]:
                        for value in NONSENSE:
                            yield path, {}, body | {name: body[name] | {inner: value}}


def _example(document: Any, schema: Any) -> Any:
    """A value as the document shows it."""
    if "anyOf" in schema:
        return _example(document, schema["anyOf"][0])
    if "$ref" in schema:
        return _example(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if "examples" in schema:
        return schema["examples"][0]
    if "enum" in schema:
        return schema["enum"][-1]
    if "properties" in schema:
        return {name: _example(document, value) for name, value in schema["properties"].items()}
    kinds = schema.get("type")
    kind = kinds[0] if isinstance(kinds, list) else kinds
    if kind == "array":
        return [_example(document, schema["items"])]
    return {"string": "abcdefgh", "integer": 42, "boolean": False}.get(kind)
