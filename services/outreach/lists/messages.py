"""What lists and imports are over the wire."""

from __future__ import annotations

from dataclasses import asdict, fields

from chassis import wire
from chassis.canonical import Source
from chassis.enums import enum_number
from chassis.outbox import Fact
from prosa.outreach.v1 import events_pb2
from prosa.outreach.v1 import list_service_pb2 as pb
from prosa.v1 import options_pb2
from services.outreach.lists.domain import Columns, ContactList, Import, Member, RowError

_LOWER_SOURCE = {source.value: source.value.lower() for source in Source}
_SHOWN_ENCODINGS = {"utf-16-le": "utf-16", "utf-16-be": "utf-16"}


def list_message(kept: ContactList) -> pb.ContactList:
    """A list as it stands."""
    return pb.ContactList(
        contact_list_id=str(kept.id),
        organization_id=str(kept.organization_id),
        name=kept.name,
        member_count=kept.member_count,
        create_time=wire.to_timestamp(kept.create_time),
        etag=str(kept.version),
    )


def member_message(member: Member) -> pb.ContactListMember:
    """A contact in a list."""
    return pb.ContactListMember(
        contact_id=str(member.contact_id),
        source=enum_number(options_pb2.Source, member.source),
        conversation_key=f"{_LOWER_SOURCE[member.source]}:{member.external_id}",
        name=member.name,
        suppressed=member.suppressed,
        add_time=wire.to_timestamp(member.add_time),
    )


def import_message(kept: Import) -> pb.ContactImport:
    """An import as it stands."""
    return pb.ContactImport(
        contact_import_id=str(kept.id),
        organization_id=str(kept.organization_id),
        contact_list_id=str(kept.contact_list_id),
        state=enum_number(pb.ImportState, kept.state),
        file_name=kept.file_name,
        file_size=kept.file_size,
        columns=pb.ImportColumns(**asdict(kept.columns)),
        encoding=_SHOWN_ENCODINGS.get(kept.encoding, kept.encoding),
        delimiter=kept.delimiter,
        dry_run=kept.dry_run,
        processed_count=kept.processed_count,
        row_count=kept.row_count,
        created_count=kept.created_count,
        existing_count=kept.existing_count,
        error_count=kept.error_count,
        explanation=kept.explanation,
        actor=options_pb2.Actor(principal=kept.actor.principal, name=kept.actor.name),
        create_time=wire.to_timestamp(kept.create_time),
        end_time=wire.to_timestamp(kept.end_time),
        version=kept.version,
        source=enum_number(options_pb2.Source, kept.source),
    )


def columns_of(message: pb.ImportColumns) -> Columns:
    """Columns as they are named by a caller."""
    return Columns(**{field.name: " ".join(getattr(message, field.name).split()) for field in fields(Columns)})


def error_message(error: RowError) -> pb.ImportError:
    """A row that was not taken in."""
    return pb.ImportError(
        line=error.line, column=error.column, value=error.value, reason=error.reason, message=error.message
    )


def import_changed(kept: Import) -> Fact:
    """The fact that an import went on."""
    fact = events_pb2.ContactImportChanged(
        organization_id=str(kept.organization_id), contact_import=import_message(kept)
    )
    return Fact(kept.organization_id, fact)
