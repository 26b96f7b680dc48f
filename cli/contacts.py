"""`prosa contacts`: people from a file into a list."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from chassis.enums import enum_number
from cli.calls import CALL_SECONDS, open_calls
from cli.choosing import Org
from cli.failures import REFUSED, Refused, operation
from cli.organizations import find_organization
from cli.output import Json, answer, end_progress, number_of, print_note, print_progress, shown
from prosa.outreach.v1 import list_service_pb2 as pb
from prosa.outreach.v1.list_service_pb2_grpc import ListServiceStub
from prosa.v1 import options_pb2

if TYPE_CHECKING:
    from prosa.outreach.v1.list_service_pb2_grpc import ListServiceAsyncStub

app = typer.Typer(help="People from a file into a list.", no_args_is_help=True)

PART_BYTES = 1024 * 1024
"""Of the file in one call."""
LOOK_SECONDS = 0.5
"""How often it is asked how far an import is."""
PAGE_SIZE = 250
ERRORS_LISTED_MAX = 10_000
ERRORS_SHOWN_MAX = 50
"""How many rows at fault people are shown; with --json there are more."""
SOURCES = ("whatsapp", "instagram")


@app.callback()
def contacts() -> None:
    """People from a file into a list."""


@app.command("import")
@operation
async def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="CSV, names in line 1.")],
    org: Org,
    list_name: Annotated[str, typer.Option("--list", help="The list they join, made where there is none.")] = "",
    source: Annotated[str, typer.Option(help="whatsapp or instagram.")] = "whatsapp",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Find the rows at fault, take in nobody.")] = False,
    as_json: Json = False,
) -> None:
    """Take people into a list. Who is known stays as they are; a row at fault is told with its line and reason."""
    if source not in SOURCES:
        raise Refused(f"--source is one of {', '.join(SOURCES)}.", exit_code=REFUSED)
    name = list_name or file.stem
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        lists = _Lists(calls.stub(ListServiceStub, "outreach"), calls.organization(organization.organization_id))
        begun = await lists.begin(await lists.named(name), file, source)
        ended = await lists.run(begun.contact_import_id, dry_run=dry_run)
        errors = await lists.errors(ended.contact_import_id)
    content = {
        "organization_id": organization.organization_id,
        "contact_list_id": ended.contact_list_id,
        "contact_import_id": ended.contact_import_id,
        "dry_run": dry_run,
        "rows": ended.processed_count,
        "created": ended.created_count,
        "existing": ended.existing_count,
        "at_fault": ended.error_count,
        "errors": [
            {
                "line": error.line,
                "column": error.column,
                "value": error.value,
                "reason": error.reason,
                "message": error.message,
            }
            for error in errors
        ],
    }
    if ended.state == pb.IMPORT_STATE_FAILED:
        raise Refused(ended.explanation, reason="IMPORT_FAILED")
    answer(content, _report(name, ended, errors), as_json=as_json)


class _Lists:
    """The lists of one organization, as the command needs them."""

    def __init__(self, stub: ListServiceAsyncStub, metadata: Any) -> None:
        self._stub, self._metadata = stub, metadata

    async def named(self, name: str) -> str:
        """The list of a name, made where there is none."""
        request = pb.ListContactListsRequest(page_size=PAGE_SIZE)
        while True:
            page = await self._stub.ListContactLists(request, metadata=self._metadata, timeout=CALL_SECONDS)
            for each in page.contact_lists:
                if each.name.casefold() == name.casefold():
                    return each.contact_list_id
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        made = await self._stub.CreateContactList(
            pb.CreateContactListRequest(name=name, request_id=str(uuid4())),
            metadata=self._metadata,
            timeout=CALL_SECONDS,
        )
        return made.contact_list_id

    async def begin(self, contact_list_id: str, file: Path, source: str) -> pb.ContactImport:
        """An import with its file."""
        begun = await self._stub.CreateContactImport(
            pb.CreateContactImportRequest(
                contact_list_id=contact_list_id,
                file_name=file.name[-255:],
                source=enum_number(options_pb2.Source, source.upper()),
                request_id=str(uuid4()),
            ),
            metadata=self._metadata,
            timeout=CALL_SECONDS,
        )
        offset = 0
        with file.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            while part := await asyncio.to_thread(opened.read, PART_BYTES):
                begun = await self._stub.AppendContactImportFile(
                    pb.AppendContactImportFileRequest(
                        contact_import_id=begun.contact_import_id, offset=offset, part=part
                    ),
                    metadata=self._metadata,
                    timeout=CALL_SECONDS,
                )
                _progress(offset, offset + len(part), size, "bytes uploaded")
                offset += len(part)
        end_progress()
        return begun

    async def run(self, contact_import_id: str, *, dry_run: bool) -> pb.ContactImport:
        """Starts an import; the import when it has ended. Interrupted, it goes on by itself."""
        kept = await self._stub.StartContactImport(
            pb.StartContactImportRequest(contact_import_id=contact_import_id, dry_run=dry_run, request_id=str(uuid4())),
            metadata=self._metadata,
            timeout=CALL_SECONDS,
        )
        told = 0
        try:
            while kept.state == pb.IMPORT_STATE_RUNNING:
                _progress(told, kept.processed_count, kept.row_count, "rows read")
                told = kept.processed_count
                await asyncio.sleep(LOOK_SECONDS)
                kept = await self._stub.GetContactImport(
                    pb.GetContactImportRequest(contact_import_id=contact_import_id),
                    metadata=self._metadata,
                    timeout=CALL_SECONDS,
                )
        except asyncio.CancelledError:
            print_note(f"It goes on by itself: GET /api/v1/contact-imports/{contact_import_id}")
            raise
        finally:
            end_progress()
        return kept

    async def errors(self, contact_import_id: str) -> list[pb.ImportError]:
        """The rows at fault, by line; no more than are listed."""
        request = pb.ListImportErrorsRequest(contact_import_id=contact_import_id, page_size=PAGE_SIZE)
        found: list[pb.ImportError] = []
        while len(found) < ERRORS_LISTED_MAX:
            page = await self._stub.ListImportErrors(request, metadata=self._metadata, timeout=CALL_SECONDS)
            found += page.errors
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        return found


def _progress(before: int, done: int, whole: int, of_what: str) -> None:
    """How far it is, of a whole that is known (not 0): in a terminal as it goes, elsewhere each tenth."""
    if whole and (sys.stderr.isatty() or before * 10 // whole != done * 10 // whole):
        print_progress(f"{done} of {whole} {of_what}")


def _report(name: str, ended: pb.ContactImport, errors: list[pb.ImportError]) -> list[str]:
    tried = " (dry run: nobody was taken in)" if ended.dry_run else ""
    lines = [
        f"{name}: {number_of(ended.processed_count, 'row')} read{tried}.",
        f"  new       {ended.created_count}",
        f"  known     {ended.existing_count}",
        f"  at fault  {ended.error_count}",
    ]
    if errors:
        lines += ["", "Left out:"]
    lines += [
        f"  line {error.line}  {error.reason}  {shown(error.value)}  {error.message}".rstrip()
        for error in errors[:ERRORS_SHOWN_MAX]
    ]
    if ended.error_count > ERRORS_SHOWN_MAX:
        lines.append(f"  and {ended.error_count - ERRORS_SHOWN_MAX} more (--json)")
    return lines
