"""Tokens for API keys as OAuth 2 libraries ask for them: a form, or HTTP Basic (RFC 6749, sections 2.3.1, 4.4 and 5).

JSON goes the way of every other RPC. A form is answered in the words of the RFC, errors too: that is what those
libraries read. A key needs no name, so `client_id` may be anything; a token may do all that its key may, so a scope
that is asked for is answered with what there is.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl, unquote_plus

import grpc
import jwt
from aiohttp import web

from gateway.bodies import Bodies
from gateway.credentials import Exchange
from gateway.limits import API_KEY_LENGTH_MAX, TOKEN_FORM_FIELDS_MAX
from gateway.routes import api
from gateway.routes.api import read_body

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

EXCHANGE_RPC = "/prosa.identity.v1.AccessService/ExchangeApiKey"
FORM = "application/x-www-form-urlencoded"
GRANT_TYPE = "client_credentials"
_ONCE = ("grant_type", "client_id", "client_secret", "scope")


class _Refused(Exception):
    """An error as section 5.2 names it."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error, self.description = error, description


def taking_forms(handle_json: Handler, exchange: Exchange, bodies: Bodies) -> Handler:
    """Answers a handler that takes forms itself and leaves everything else to the one given."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.content_type != FORM:
            return await handle_json(request)
        body = await read_body(bodies, request, api.STRANGERS)
        try:
            return await _answer_form(request, body, exchange)
        except _Refused as refused:
            unknown = refused.error == "invalid_client"
            return web.json_response(
                {"error": refused.error, "error_description": refused.description},
                status=401 if unknown else 400,
                headers={"Pragma": "no-cache"} | ({"WWW-Authenticate": 'Basic realm="prosa"'} if unknown else {}),
            )
        finally:
            bodies.let_go(body, api.STRANGERS.owner)

    return handle


async def _answer_form(request: web.Request, body: bytes, exchange: Exchange) -> web.Response:
    if request.rel_url.query:
        raise _Refused("invalid_request", "Send the parameters in the body, not in the address.")
    fields = _read_form(body)
    if "grant_type" not in fields:
        raise _Refused("invalid_request", f"grant_type is missing; it is {GRANT_TYPE}.")
    if fields["grant_type"] != GRANT_TYPE:
        raise _Refused("unsupported_grant_type", f"The grant_type is {GRANT_TYPE}.")
    secret = _client_secret(request, fields)
    unknown = _Refused("invalid_client", "The API key is not known, or was revoked.")
    if not secret.isascii() or len(secret) > API_KEY_LENGTH_MAX:
        raise unknown
    try:
        token = await exchange(secret)
    except grpc.aio.AioRpcError as error:
        if error.code() != grpc.StatusCode.UNAUTHENTICATED:
            raise
        raise unknown from None
    answer = {
        "access_token": token.access_token,
        "token_type": token.token_type,
        "expires_in": token.expires_in,
        "organization_id": token.organization_id,
    }
    if "scope" in fields:
        # Section 5.1: where it is not what was asked for, it must be said.
        answer["scope"] = " ".join(jwt.decode(token.access_token, options={"verify_signature": False})["scopes"])
    return web.json_response(answer, headers={"Pragma": "no-cache"})


def _read_form(raw: bytes) -> dict[str, str]:
    """Answers the fields that have a value. What nobody knows is passed over, as section 3.2 wants it."""
    try:
        given = parse_qsl(raw.decode(), max_num_fields=TOKEN_FORM_FIELDS_MAX, errors="strict")
    except ValueError:
        raise _Refused("invalid_request", "The body is no form that can be read.") from None
    fields: dict[str, str] = {}
    for name, value in given:
        if name in fields and name in _ONCE:
            raise _Refused("invalid_request", f"{name} is given more than once.")
        fields[name] = value
    return fields


def _client_secret(request: web.Request, fields: dict[str, str]) -> str:
    """Answers the API key, from HTTP Basic or from the form; both at once are refused, as section 2.3 wants it."""
    scheme, _, value = request.headers.get("Authorization", "").strip().partition(" ")
    if not scheme:
        if "client_secret" not in fields:
            raise _Refused("invalid_client", "Send the API key as client_secret, or by HTTP Basic as the password.")
        return fields["client_secret"]
    if "client_secret" in fields:
        raise _Refused("invalid_request", "Send the API key once: as client_secret, or by HTTP Basic.")
    try:
        if scheme.lower() != "basic":
            raise ValueError(scheme)
        _, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise _Refused("invalid_client", "Authorization must read: Basic, and id and key in base64.") from None
    if not colon or not password:
        raise _Refused("invalid_client", "Send the API key as the password of HTTP Basic.")
    # Section 2.3.1 has both parts encoded as in a form.
    return unquote_plus(password)
