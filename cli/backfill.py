"""`prosa backfill`: identities for the contacts that were there before."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from cli.calls import open_calls
from cli.choosing import Org
from cli.failures import Refused, operation
from cli.organizations import find_organization
from cli.output import Json, answer, end_progress, number_of, print_note, print_progress
from prosa.identity.v1 import contact_service_pb2 as pb
from prosa.identity.v1.contact_service_pb2_grpc import ContactServiceStub
from prosa.v1 import options_pb2

app = typer.Typer(help="Identities for the contacts that were there before.", no_args_is_help=True)

BATCH_SIZE_MAX = 500
BATCH_COUNT_MAX = 100_000
"""Fifty million contacts: whoever has more runs the command again, which passes over what is done."""
BATCH_SECONDS = 30.0
SHOWN_MAX = 10
"""How many conflicts people are shown; with --json there are more."""
LISTED_MAX = 1_000
STANDINGS = ("created", "existing", "conflicting", "unreadable", "without_phone")


@app.callback()
def backfill() -> None:
    """Identities for the contacts that were there before."""


@dataclass(slots=True)
class Totals:
    """What all batches so far came to."""

    batches: int = 0
    examined: int = 0
    standings: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STANDINGS, 0))
    conflicts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By key: contacts with one phone may lie in several batches."""
    unreadable: list[str] = field(default_factory=list)

    def add(self, batch: pb.BackfillContactIdentitiesResponse) -> None:
        """Counts one batch in."""
        self.batches += 1
        self.examined += batch.examined_count
        for standing in STANDINGS:
            self.standings[standing] += getattr(batch, f"{standing}_count")
        for conflict in batch.conflicts:
            if len(self.conflicts) < LISTED_MAX:
                self.conflicts.setdefault(
                    conflict.conversation_key,
                    {
                        "conversation_key": conflict.conversation_key,
                        "owner_contact_id": conflict.owner_contact_id or None,
                        "candidate_contact_ids": list(conflict.candidate_contact_ids),
                        "identity_conflict_id": conflict.identity_conflict_id or None,
                    },
                )
        self.unreadable.extend(batch.unreadable_contact_ids[: LISTED_MAX - len(self.unreadable)])


@app.command("whatsapp")
@operation
async def whatsapp(
    org: Org,
    batch: Annotated[
        int, typer.Option(min=1, max=BATCH_SIZE_MAX, help="Contacts of one batch, which is one transaction.")
    ] = BATCH_SIZE_MAX,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Give contacts the WhatsApp identity that their own phone says. What is there stays; run it again at will."""
    totals = Totals()
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        stub = calls.stub(ContactServiceStub, "identity")
        metadata = calls.organization(organization.organization_id)
        request = pb.BackfillContactIdentitiesRequest(
            source=options_pb2.SOURCE_WHATSAPP, page_size=batch, dry_run=dry_run
        )
        try:
            for _ in range(BATCH_COUNT_MAX):
                page = await stub.BackfillContactIdentities(request, metadata=metadata, timeout=BATCH_SECONDS)
                totals.add(page)
                _progress(totals)
                if not page.next_page_token:
                    break
                request.page_token = page.next_page_token
            else:
                raise Refused(
                    f"Stopped after {number_of(totals.examined, 'contact')}. Run it again to go on.",
                    reason="NOT_FINISHED",
                )
        except asyncio.CancelledError:
            end_progress()
            print_note(f"Stopped after {number_of(totals.examined, 'contact')}. {_kept(dry_run=dry_run)}")
            raise
        end_progress()
    content = {
        "organization_id": organization.organization_id,
        "dry_run": dry_run,
        "batches": totals.batches,
        "examined": totals.examined,
        **totals.standings,
        "conflicts": list(totals.conflicts.values()),
        "unreadable_contact_ids": totals.unreadable,
    }
    answer(content, _lines(organization.name, totals, dry_run=dry_run), as_json=as_json)


def _lines(name: str, totals: Totals, *, dry_run: bool) -> list[str]:
    counts = totals.standings
    lines = [
        f"{name}: {number_of(totals.examined, 'contact')} examined{', nothing changed (dry run)' if dry_run else ''}.",
        f"  created {counts['created']}{' (would be)' if dry_run else ''}",
        f"  existing {counts['existing']}",
        f"  conflicting {counts['conflicting']}",
        f"  unreadable {counts['unreadable']}",
        f"  without phone {counts['without_phone']}",
    ]
    conflicts = list(totals.conflicts.values())
    if conflicts:
        lines += ["", "Left as they are, because more than one contact could be meant:"]
    for conflict in conflicts[:SHOWN_MAX]:
        owner = conflict["owner_contact_id"]
        others = ", ".join(each for each in conflict["candidate_contact_ids"] if each != owner)
        told = f"belongs to {owner}; also the phone of {others}" if owner else f"the phone of {others}"
        lines.append(f"  {conflict['conversation_key']}  {told}")
    if len(conflicts) > SHOWN_MAX:
        lines.append(f"  and {len(conflicts) - SHOWN_MAX} more (--json)")
    if conflicts:
        lines += [
            "Decide whose number each is, correct the phone of the others (in Chatwoot), and run this again.",
            "The real run makes each a reconciliation task."
            if dry_run
            else "Those nobody has decided yet are open tasks: GET /api/v1/reconciliation-tasks.",
        ]
    if totals.unreadable:
        lines += ["", f"No WhatsApp number can be read from the phone of: {', '.join(totals.unreadable[:SHOWN_MAX])}"]
        if counts["unreadable"] > SHOWN_MAX:
            lines.append(f"and {counts['unreadable'] - SHOWN_MAX} more (--json)")
    return lines


def _kept(*, dry_run: bool) -> str:
    if dry_run:
        return "Nothing was changed."
    return "What is done stays; run the same command again, and it does the rest."


def _progress(totals: Totals) -> None:
    """One line on standard error: rewritten in a terminal, one a batch elsewhere."""
    told = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in totals.standings.items())
    print_progress(f"{totals.examined} examined: {told}")
