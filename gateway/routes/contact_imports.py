"""The files of imports: uploaded as they stand, part by part, and the rows at fault as CSV."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections.abc import AsyncIterator

import grpc.aio
from aiohttp import web

from chassis.errors import InvalidArgument, Unauthenticated
from chassis.transcoding.plans import Plans
from gateway.bodies import Bodies
from gateway.credentials import Authorizer, Credentials
from gateway.limits import (
    API_BODY_TIMEOUT_SECONDS,
    API_CALL_TIMEOUT_SECONDS,
    IMPORT_PART_BYTES,
)
from prosa.outreach.v1 import list_service_pb2 as pb
from prosa.outreach.v1.list_service_pb2_grpc import ListServiceStub

PATH = "/api/v1/contact-imports/{contact_import_id}"
APPEND_RPC = "/prosa.outreach.v1.ListService/AppendContactImportFile"
_ERRORS_PAGE = 250
_RANGE = re.compile(r"bytes ([0-9]{1,12})-[0-9]{1,12}/(?:[0-9]{1,12}|\*)")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet would work out."""
_BEGINNING = re.compile(r'(\A[\s";]*|[\s";]+)([=+\-@\uff1d\uff0b\uff0d\uff20]?)')
_PARTING = frozenset(";\t\r\n")
"""Where else a spreadsheet may begin a cell: Excel parts a line at semicolons where the comma is the sign of decimals,
and minds no quotation marks in the middle of a cell then."""
_HEADER = ("line", "column", "value", "reason", "message")
_MARK = "\ufeff"
"""Tells spreadsheets that the file is UTF-8."""


class ContactImports:
    """Serves the addresses."""

    def __init__(
        self, channel: grpc.aio.Channel, credentials: Credentials, authorizer: Authorizer, plans: Plans, bodies: Bodies
    ) -> None:
        self._lists = ListServiceStub(channel)
        self._credentials, self._authorizer, self._bodies = credentials, authorizer, bodies
        self._plan = plans.of(pb.ContactImport.DESCRIPTOR)

    def add_routes(self, app: web.Application) -> None:
        """Registers them."""
        app.router.add_put(f"{PATH}/file", self.upload)
        app.router.add_get(f"{PATH}/errors.csv", self.errors, allow_head=False)

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """Hands the file on in parts. What broke off is sent again: whole, or from where Content-Range says."""
        token = await self._token(request)
        owner = self._authorizer.account(token, APPEND_RPC)
        if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise web.HTTPUnsupportedMediaType
        offset = _offset(request)
        kept = await self._append(request, token, offset, b"")
        while part := await self._read(request, owner):
            try:
                kept = await self._append(request, token, offset, part)
            finally:
                self._bodies.let_go(part, owner)
            offset += len(part)
        return web.Response(body=self._plan.to_json(kept), content_type="application/json")

    async def errors(self, request: web.Request) -> web.StreamResponse:
        """The rows that were not taken in, by line, for a spreadsheet."""
        token = await self._token(request)
        pages = self._pages(request, token)
        # What is refused is refused before an answer begins.
        first = await anext(pages)
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/csv; charset=utf-8",
                "Content-Disposition": 'attachment; filename="errors.csv"',
            }
        )
        await response.prepare(request)
        await response.write((_MARK + _line(*_HEADER) + first).encode())
        async for page in pages:
            await response.write(page.encode())
        await response.write_eof()
        return response

    async def _token(self, request: web.Request) -> str:
        token = await self._credentials.token(request)
        if token is None:
            raise Unauthenticated(
                "UNAUTHENTICATED", "Send Authorization: Bearer with a token, or X-Api-Key; or sign in with a browser."
            )
        return token

    async def _read(self, request: web.Request, owner: str) -> bytes:
        try:
            async with asyncio.timeout(API_BODY_TIMEOUT_SECONDS):
                return await self._bodies.read_part(request, IMPORT_PART_BYTES, owner)
        except TimeoutError:
            raise web.HTTPRequestTimeout from None

    async def _append(self, request: web.Request, token: str, offset: int, part: bytes) -> pb.ContactImport:
        append = pb.AppendContactImportFileRequest(
            contact_import_id=request.match_info["contact_import_id"], offset=offset, part=part
        )
        try:
            answer: pb.ContactImport = await self._lists.AppendContactImportFile(
                append, metadata=(("authorization", f"Bearer {token}"),), timeout=API_CALL_TIMEOUT_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                self._credentials.refused(request)
            raise
        return answer

    async def _pages(self, request: web.Request, token: str) -> AsyncIterator[str]:
        asked = pb.ListImportErrorsRequest(
            contact_import_id=request.match_info["contact_import_id"], page_size=_ERRORS_PAGE
        )
        while True:
            answer: pb.ListImportErrorsResponse = await self._lists.ListImportErrors(
                asked, metadata=(("authorization", f"Bearer {token}"),), timeout=API_CALL_TIMEOUT_SECONDS
            )
            yield "".join(
                _line(str(error.line), error.column, error.value, error.reason, error.message)
                for error in answer.errors
            )
            if not answer.next_page_token:
                return
            asked.page_token = answer.next_page_token


def _offset(request: web.Request) -> int:
    """Where in the file the body begins. Raises InvalidArgument FIELD_INVALID."""
    written = request.headers.get("Content-Range", "").strip()
    if not written:
        return 0
    found = _RANGE.fullmatch(written)
    if found is None:
        raise InvalidArgument(
            "FIELD_INVALID", "Content-Range must read: bytes <first>-<last>/<size>, the size may be *."
        )
    return int(found[1])


def _line(*cells: str) -> str:
    """A line of CSV; what would be a formula in a spreadsheet is none, with an apostrophe before it."""
    out = io.StringIO()
    csv.writer(out).writerow(_without_formulas(cell) for cell in cells)
    return out.getvalue()


def _without_formulas(cell: str) -> str:
    marked = _BEGINNING.sub(_without_formula, cell)
    return f"'{marked}" if marked.startswith(_FORMULA) else marked


def _without_formula(found: re.Match[str]) -> str:
    before, sign = found.groups()
    begins = found.start() == 0 or not _PARTING.isdisjoint(before)
    return f"{before}'{sign}" if sign and begins else found[0]
