"""What people and programs read about the API, and the page at the root where no dashboard was built."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from importlib import resources

import orjson
from aiohttp import web

from chassis.transcoding.plans import Plans
from gateway.limits import DOCS_ORIGINS_MAX
from gateway.openapi import document, page
from gateway.openapi.operations import EXAMPLE_URL, Operation, operations
from gateway.transcoding.bindings import bindings

_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class _Content:
    body: bytes
    content_type: str
    etag: str


class Docs:
    """Serves the OpenAPI document, the page about it and the landing page; each is made when first asked for."""

    def __init__(self, plans: Plans) -> None:
        self._plans = plans
        self._docs_by_origin: dict[str, _Content] = {}

    def add_routes(self, app: web.Application) -> None:
        """Registers the pages about the API."""
        app.router.add_get("/api/docs", self.docs)
        app.router.add_get("/api/openapi.json", self.openapi)

    def add_landing(self, app: web.Application) -> None:
        """Registers the page at the root that is shown where the dashboard was not built."""
        app.router.add_get("/", self.landing)

    async def landing(self, request: web.Request) -> web.StreamResponse:
        """What there is without a dashboard, and how to get it."""
        return self._answer(request, self._landing)

    async def docs(self, request: web.Request) -> web.StreamResponse:
        """The API for people; its examples call the address that the page was asked for under."""
        return self._answer(request, self._docs_at(origin_of(request)))

    def _docs_at(self, origin: str) -> _Content:
        if origin not in self._docs_by_origin:
            if len(self._docs_by_origin) >= DOCS_ORIGINS_MAX:
                self._docs_by_origin.clear()
            self._docs_by_origin[origin] = _content(self._docs.replace(EXAMPLE_URL, origin).encode(), "text/html")
        return self._docs_by_origin[origin]

    async def openapi(self, request: web.Request) -> web.StreamResponse:
        """The API for programs."""
        return self._answer(request, self._openapi)

    @cached_property
    def _operations(self) -> tuple[Operation, ...]:
        return operations(bindings(self._plans))

    @cached_property
    def _style(self) -> str:
        return _page("style.css").strip()

    @cached_property
    def _landing(self) -> _Content:
        return _content(_page("landing.html").replace("{style}", self._style).encode(), "text/html")

    @cached_property
    def _docs(self) -> str:
        return page.render(self._operations, self._style)

    @cached_property
    def _openapi(self) -> _Content:
        return _content(orjson.dumps(document.build(self._operations)), "application/json")

    def _answer(self, request: web.Request, content: _Content) -> web.StreamResponse:
        headers = {"ETag": f'"{content.etag}"', "Cache-Control": "no-cache"}
        if content.content_type == "text/html":
            # No script at all, and no style but the one in the page.
            digest = base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode()
            headers["Content-Security-Policy"] = (
                f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'"
            )
        if any(tag.value == content.etag for tag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        charset = "utf-8" if content.content_type == "text/html" else None
        return web.Response(body=content.body, content_type=content.content_type, charset=charset, headers=headers)


def origin_of(request: web.Request) -> str:
    """Where the reader found this gateway, as browser or proxy say it; else the address of examples."""
    # Both headers are anybody's words: what is no plain host does not get into a command that people copy.
    scheme = request.headers.get("X-Forwarded-Proto", request.scheme)
    if scheme not in ("http", "https") or not _HOST.fullmatch(request.headers.get("Host", "")):
        return EXAMPLE_URL
    return f"{scheme}://{request.host}"


def _content(body: bytes, content_type: str) -> _Content:
    return _Content(body, content_type, hashlib.sha256(body).hexdigest()[:32])


def _page(name: str) -> str:
    return resources.files("gateway").joinpath("pages", name).read_text("utf-8")
