"""Reads what a request brings, and refuses what is of another type."""

import json
from typing import Any

from aiohttp import web

from sandbox.chatwoot.access import AnswerError, not_found, unprocessable
from sandbox.chatwoot.records import Attributes

_CONTACT_TEXTS = ("name", "email", "phone_number", "identifier")
_CONTACT_OBJECTS = ("additional_attributes", "custom_attributes")


async def body_of(request: web.Request) -> dict[str, Any]:
    """The JSON object of the request; an empty one when there is no body."""
    raw = await request.read()
    if not raw:
        return {}
    try:
        parsed = json.loads(raw)
    except ValueError:
        raise AnswerError(400, {"status": 400, "error": "Bad Request"}) from None
    if not isinstance(parsed, dict):
        raise AnswerError(400, {"status": 400, "error": "Bad Request"})
    return parsed


def number_in(request: web.Request, name: str) -> int:
    """A number in the path; anything else is nobody's id."""
    text = request.match_info[name]
    return int(text) if text.isdecimal() and len(text) < 19 else not_found()


def query_number(request: web.Request, name: str) -> int | None:
    """A number in the query; text that is none counts as absent."""
    text = request.query.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 19 else None


def text_of(body: dict[str, Any], name: str, default: str = "") -> str:
    """A text of the body, or the default when it is absent or null."""
    return optional_text_of(body, name) or default


def optional_text_of(body: dict[str, Any], name: str) -> str | None:
    """A text of the body or None."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        unprocessable(f"{name} is a text")
    return value


def number_of(body: dict[str, Any], name: str) -> int | None:
    """A whole number of the body or None."""
    value = body.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        unprocessable(f"{name} is a number")
    return value


def object_of(body: dict[str, Any], name: str) -> Attributes:
    """An object of the body; anything else counts as an empty one."""
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def texts_of(body: dict[str, Any], name: str) -> tuple[str, ...] | None:
    """A list of texts of the body or None."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        unprocessable(f"{name} is a list of texts")
    return tuple(value)


def contact_changes(body: dict[str, Any]) -> dict[str, Any]:
    """The columns of a contact that the body changes."""
    changes: dict[str, Any] = {name: optional_text_of(body, name) for name in _CONTACT_TEXTS if name in body}
    changes |= {name: object_of(body, name) for name in _CONTACT_OBJECTS if name in body}
    if "blocked" in body:
        changes["blocked"] = body["blocked"] is True
    return changes
