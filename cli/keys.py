"""`prosa key` says a person's canonical key; `prosa keys` draws, copies and forgets the keys of an installation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chassis.canonical import DEFAULT_REGION, identify_typed
from chassis.clock import SystemClock
from cli.confirming import confirm, require_nobody_at_work
from cli.failures import REFUSED, Refused, database_of, operation
from cli.home import keys_directory, operator_database_url
from cli.output import Json, answer, number_of, print_note

if TYPE_CHECKING:
    from chassis.lost_keys import SealedColumn

app = typer.Typer(help="Key files: who signs tokens, and what seals secrets.", no_args_is_help=True)


@operation
def key(
    source: Annotated[str, typer.Argument(help="whatsapp or instagram.")],
    external_id: Annotated[str, typer.Argument(help="A phone in any usual writing, a WhatsApp id, a LID, an IGSID.")],
    region: Annotated[str, typer.Option(help="ISO country of phones written without one.")] = DEFAULT_REGION,
    as_json: Json = False,
) -> None:
    """Print the canonical key of a person; fails when the id names nobody."""
    found = identify_typed(source.lower(), external_id, region.upper())
    content = {
        "conversation_key": found.key,
        "source": found.source.value,
        "kind": found.kind.value,
        "external_id": found.external_id,
        "phone": found.phone,
    }
    answer(content, [found.key], as_json=as_json)


@app.command("create")
@operation
def create(
    directory: Annotated[Path | None, typer.Option(help="Where; PROSA_KEYS_DIR, else the home's keys.")] = None,
    as_json: Json = False,
) -> None:
    """Draw the key files that are missing; those that are there stay as they are.

    None is drawn where PROSA_DATABASE_URL, if it is set, names a database that needs a lost one.
    """
    from chassis import keys

    place = directory or keys_directory(os.environ)
    before = {path.name for path in place.glob("*")} if place.is_dir() else set()
    try:
        keys.create_keys(place, os.environ.get("PROSA_DATABASE_URL", ""))
    except keys.KeysLost as error:
        raise Refused(str(error), reason="KEYS_LOST") from error
    except OSError as error:
        raise Refused(
            f"Key files cannot be kept in {place} ({error.strerror}). Choose another place with --directory.",
            reason="KEYS_NOT_KEPT",
        ) from error
    created = sorted(path.name for path in place.glob("*") if path.name not in before)
    lines = [f"{place}: {len(created)} files created." if created else f"{place}: everything was there."]
    answer({"directory": str(place), "created": created}, lines, as_json=as_json)


@app.command("export")
@operation
def export(
    directory: Annotated[Path, typer.Argument(help="A new folder, for the processes of these targets alone.")],
    target: Annotated[str, typer.Option(help="A comma separated list of targets, as `prosa serve` takes them.")],
    source: Annotated[Path | None, typer.Option(help="From where; PROSA_KEYS_DIR, else the home's keys.")] = None,
    as_json: Json = False,
) -> None:
    """Copy only the key files that some targets need: what a process cannot read, nobody takes from it."""
    from chassis import keys
    from services.targets import chosen

    place = source or keys_directory(os.environ)
    try:
        services = {name.partition("-")[0] for name in chosen(target)}
        copied = keys.export_keys(place, directory, services)
    except ValueError as error:
        raise Refused(str(error), reason="TARGET_UNKNOWN", exit_code=REFUSED) from error
    except FileExistsError as error:
        raise Refused(
            f"{directory} is there already. Name a new folder: what lies in this one would be readable too.",
            reason="DIRECTORY_EXISTS",
            exit_code=REFUSED,
        ) from error
    except OSError as error:
        named = error.filename or directory
        raise Refused(f"Key files cannot be copied: {named} ({error.strerror}).", reason="KEYS_NOT_KEPT") from error
    lines = [f"{directory}: {', '.join(copied)}"]
    answer({"directory": str(directory), "files": copied}, lines, as_json=as_json)


@app.command("forget")
@operation
def forget(
    key_id: Annotated[str, typer.Argument(help="The key's id, as KEYS_LOST or /readyz names it.")],
    lost: Annotated[bool, typer.Option("--lost", help="The key is lost: delete all that it sealed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, and go on where there is no terminal.")] = False,
    directory: Annotated[Path | None, typer.Option(help="Of the keys; PROSA_KEYS_DIR, else the home's keys.")] = None,
    as_json: Json = False,
) -> None:
    """Forget an encryption key: an old one that seals nothing any more, or one that is lost for good.

    The database is that of PROSA_DATABASE_URL. With --lost no process may be at work.
    """
    from chassis import crypto, keys, lost_keys

    place = directory or keys_directory(os.environ)
    url = operator_database_url(os.environ)
    with database_of(url, "PROSA_DATABASE_URL"):
        if key_id == crypto.read_current_key_id(place):
            raise Refused(
                f"{key_id} is the key that {place / crypto.KEY_FILE} seals with now. Forget older ones, or put the file"
                " away first where it is the wrong one.",
                reason="KEY_CURRENT",
                exit_code=REFUSED,
            )
        if key_id not in keys.known_key_ids(url) | crypto.read_key_ids(place):
            found = lost_keys.sealed_with(url, key_id)
            if not found:
                raise Refused(f"No service has worked with a key {key_id!r}.", reason="KEY_UNKNOWN", exit_code=REFUSED)
        if lost:
            require_nobody_at_work(url)
            _confirm_loss(lost_keys.sealed_with(url, key_id), yes=yes)
        try:
            removed = lost_keys.forget_key(url, key_id, lost=lost, now=SystemClock().now())
        except lost_keys.StillSealed as error:
            raise Refused(
                f"Secrets are sealed with {key_id}: {error}. Keep the key, or give these connections and API keys new"
                " secrets first. Where the key is lost for good, say --lost: what it sealed is deleted.",
                reason="KEY_IN_USE",
            ) from error
    crypto.remove_key(place, key_id)
    lines = [f"{key_id} is forgotten."]
    if removed:
        lines += [f"Deleted: {column.place}, {number_of(column.count, 'value')}" for column in removed]
        lines.append(
            "Start again (`prosa keys create` draws a new key where there is none), then give each connection its "
            "secret and token again: `prosa connection add-secret`, `prosa connection update`."
        )
    answer(
        {"key_id": key_id, "deleted": [{"column": column.place, "count": column.count} for column in removed]},
        lines,
        as_json=as_json,
    )


def _confirm_loss(columns: Sequence[SealedColumn], *, yes: bool) -> None:
    for column in columns:
        print_note(f"Will be deleted: {column.place}, {number_of(column.count, 'value')}")
    if not yes:
        confirm()
