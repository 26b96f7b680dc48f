"""The `prosa` command: what it can do, on one screen."""

from __future__ import annotations

import importlib
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from typer._click.exceptions import ClickException  # Typer's own copy; it exports only what derives from it
from typer.core import TyperGroup
from typer.main import get_command, get_group

from cli import streams
from cli.output import print_error

DISTRIBUTION = "prosa-suite"
PROGRAM = "prosa"

NOUNS = {
    "up": "cli.up:up",
    "serve": "cli.serve:serve",
    "migrate": "cli.migrate:migrate",
    "status": "cli.status:status",
    "org": "cli.organizations:app",
    "connection": "cli.connections:app",
    "channel": "cli.channels:app",
    "api-key": "cli.api_keys:app",
    "member": "cli.members:app",
    "kill": "cli.kill:app",
    "send-policy": "cli.send_policy:app",
    "key": "cli.keys:key",
    "keys": "cli.keys:app",
    "backfill": "cli.backfill:app",
    "contacts": "cli.contacts:app",
    "alerts": "cli.alerts:alerts",
    "events": "cli.events:app",
    "feed": "cli.feed:app",
    "sql": "cli.readings:app",
    "n8n": "cli.n8n:app",
    "smoke": "cli.smoke.command:app",
}


class Nouns(TyperGroup):
    """Loads a noun's module when it is named: `prosa key` does not wait for what only `prosa serve` needs."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        # Only their names count here: a mistyped one is told which it is like.
        self.commands = cast("Any", dict.fromkeys(NOUNS))

    def list_commands(self, ctx: Any) -> list[str]:
        """All nouns, in the order of their table."""
        return list(NOUNS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The noun's command or group of commands; None where there is no such noun."""
        if cmd_name not in NOUNS:
            return None
        module, _, attribute = NOUNS[cmd_name].partition(":")
        loaded = getattr(importlib.import_module(module), attribute)
        if isinstance(loaded, typer.Typer):
            command: Any = get_group(loaded)
        else:
            alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            alone.command(cmd_name)(loaded)
            command = get_command(alone)
        command.name = cmd_name
        return _plain(command)


def _plain(command: Any) -> Any:
    """The command with help of lines, not of boxes: at 80 columns a box breaks words and cuts names."""
    command.rich_markup_mode = None
    for subcommand in getattr(command, "commands", {}).values():
        _plain(subcommand)
    return command


app = typer.Typer(
    cls=Nouns,
    name="prosa",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def show_version(wanted: bool) -> None:
    """Prints which release is installed, and nothing else."""
    if wanted:
        typer.echo(f"prosa {metadata.version(DISTRIBUTION)}")
        raise typer.Exit


@app.callback()
def prosa(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show which release this is.")
    ] = False,
) -> None:
    """Run and operate Prosa, the back office of a business that sells by conversation."""


def readable(word: str) -> str:
    """A word as a text that can be sent on; a path in another encoding stays as it is where it leads somewhere.

    Python keeps bytes that are no text (half an emoji, another encoding) in a form that nothing but a path may have.
    """
    if word.isprintable() or Path(word).exists():
        return word
    return os.fsencode(word).decode("utf-8", "replace")


def main() -> None:
    """Runs the command line."""
    sys.argv[1:] = map(readable, sys.argv[1:])
    streams.prepare()
    if "--json" not in sys.argv:
        app(prog_name=PROGRAM)
        return
    try:
        code = app(prog_name=PROGRAM, standalone_mode=False)
    except ClickException as error:
        # Words that no command takes: whoever asked for JSON reads standard output here too.
        print_error("COMMAND_INVALID", error.format_message(), as_json=True)
        code = error.exit_code
    except typer.Abort:
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
