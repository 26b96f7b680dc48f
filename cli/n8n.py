"""`prosa n8n`: what belongs to the workflows of n8n."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.failures import RED, REFUSED, Refused, operation
from cli.output import Json, number_of, print_json, print_line
from cli.workflow_rules import RULES, Finding, WorkflowUnreadable, lint, read_workflow

app = typer.Typer(help="Workflows of n8n: whether one does what it must.", no_args_is_help=True)


@app.callback()
def n8n() -> None:
    """Workflows of n8n: whether one does what it must."""


@app.command("lint")
@operation
def lint_file(
    file: Annotated[Path, typer.Argument(help="The exported workflow, a JSON file.")], as_json: Json = False
) -> None:
    """Look for what n8n imports and then runs wrongly. Ends with 1 where something was found."""
    try:
        workflow = read_workflow(file.read_bytes())
    except WorkflowUnreadable as error:
        raise Refused(f"{file}: {error}", reason="WORKFLOW_UNREADABLE", exit_code=REFUSED) from None
    findings = lint(workflow)
    if as_json:
        print_json(
            {
                "file": str(file),
                "rules": sorted(RULES),
                "findings": [
                    {"rule": found.rule, "node": found.node, "why": found.why, "mend": found.mend} for found in findings
                ],
            }
        )
    else:
        for found in findings:
            _print(found)
        print_line(f"{number_of(len(findings), 'finding')} in {file}.")
    if findings:
        raise typer.Exit(RED)


def _print(found: Finding) -> None:
    print_line(f"{found.rule}  {found.node or '(the workflow)'}")
    print_line(f"    {found.why}")
    print_line(f"    Mend: {found.mend}")
