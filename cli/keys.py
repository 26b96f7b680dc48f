"""`prosa key` says a person's canonical key; `prosa keys create` draws the key files of an installation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from chassis.canonical import DEFAULT_REGION, identify_typed
from cli.failures import Refused, operation
from cli.home import keys_directory
from cli.output import Json, answer

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
        raise Refused(str(error), reason="TARGET_UNKNOWN") from error
    except OSError as error:
        named = error.filename or directory
        raise Refused(f"Key files cannot be copied: {named} ({error.strerror}).", reason="KEYS_NOT_KEPT") from error
    lines = [f"{directory}: {', '.join(copied)}"]
    answer({"directory": str(directory), "files": copied}, lines, as_json=as_json)
