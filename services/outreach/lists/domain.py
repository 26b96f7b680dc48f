"""What a list of contacts and an import are. No I/O, no protobuf."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from services.outreach.sending.kill_switch import Actor


@dataclass(frozen=True, slots=True)
class ContactList:
    """Contacts that are written to together."""

    organization_id: UUID
    id: UUID
    name: str
    create_time: datetime
    member_count: int = 0
    version: int = 1


@dataclass(frozen=True, slots=True)
class Member:
    """A contact in a list, as the contact was when added."""

    id: UUID
    contact_id: UUID
    source: str
    external_id: str
    name: str
    add_time: datetime
    suppressed: bool = False


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column of a file holds what; empty where none does."""

    name: str = ""
    phone: str = ""
    email: str = ""
    external_id: str = ""
    tags: str = ""


class ImportState(StrEnum):
    """How far an import is."""

    UPLOADING = "UPLOADING"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Import:
    """One CSV file and what became of its rows."""

    organization_id: UUID
    id: UUID
    contact_list_id: UUID
    source: str
    file_name: str
    actor: Actor
    create_time: datetime
    columns: Columns = Columns()
    state: ImportState = ImportState.UPLOADING
    file_size: int = 0
    encoding: str = ""
    delimiter: str = ""
    dry_run: bool = False
    position: int = 0
    """Where in the file the next row begins, in bytes."""
    line: int = 1
    """The number of the line that begins there."""
    processed_count: int = 0
    row_count: int = 0
    created_count: int = 0
    existing_count: int = 0
    error_count: int = 0
    explanation: str = ""
    end_time: datetime | None = None
    tell_time: datetime | None = None
    """When the last fact told of it."""
    version: int = 1


@dataclass(frozen=True, slots=True)
class RowError:
    """A row that was not taken in, and why."""

    line: int
    column: str
    value: str
    reason: str
    message: str
