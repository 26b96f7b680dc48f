"""What a person can do next: where to look, how to sign in, what to type."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cli.home import home_directory


def guide(content: Mapping[str, Any], home: Path, fake_chatwoot_url: str = "", command: str = "prosa") -> Iterator[str]:
    """What is shown below the address when everything is ready; with examples where a fake Chatwoot runs.

    `command` is what begins a command line in another terminal: see `typed`.
    """
    url = content["url"]
    yield f"  dashboard      {url}"
    yield f"  API            {url}/api/docs"
    yield f"  logs           {home / 'logs'}"
    yield f"  access         {home / 'bootstrap.json'} (only you can read it)"
    if content["organization_id"] is None:
        yield ""
        yield "There is no organization yet:"
        yield f"  {command} org create --name 'Your business' --admin you@example.com"
        yield ""
        yield "Ctrl-C stops everything."
        return
    if content["admin"] is not None:
        yield f"  demo sign-in   {content['admin']['email']}  {content['admin']['password']}"
    if fake_chatwoot_url:
        yield from _examples(url, home, fake_chatwoot_url, command)
        yield "Out of the demo: `prosa up` without --demo; commands mean your organization as soon as there is one."
    yield ""
    yield "Ctrl-C stops everything."


def typed(program: str, home: Path) -> str:
    """How another terminal, which knows no more than a new one does, calls this program for this home."""
    found = shutil.which("prosa")
    here = Path(program).absolute()
    words = "prosa" if found is not None and Path(found).absolute() == here else shlex.quote(str(here))
    return words if home == home_directory({}) else f"PROSA_HOME={shlex.quote(str(home))} {words}"


def _examples(url: str, home: Path, fake_chatwoot_url: str, command: str) -> Iterator[str]:
    file = home / "bootstrap.json"
    yield ""
    yield "Try, in another terminal:"
    yield f"""  KEY=$(sed -n 's/.*"api_key": "\\(.*\\)".*/\\1/p' {shlex.quote(str(file))})"""
    yield f"  curl -s -H \"X-Api-Key: $KEY\" '{url}/api/v1/contacts?page_size=3'"
    yield f"  curl -s -H \"X-Api-Key: $KEY\" '{url}/api/v1/webhook-events?page_size=3'"
    yield (
        f'  curl -s -H "X-Api-Key: $KEY" {url}/api/v1/contacts:ensure '
        '-d \'{"source":"WHATSAPP","external_id":"+5511900004821","name":"Ana"}\''
    )
    yield f'  curl -N -H "X-Api-Key: $KEY" {url}/api/v1/stream'
    yield f"  {command} feed tail"
    yield "A customer writes: the fake Chatwoot signs the webhook and sends it."
    yield (
        f"  curl -s {fake_chatwoot_url}/_sandbox/incoming "
        """-d '{"inbox":"instagram","name":"Ana Prado","text":"Oi! Tem vaga?"}'"""
    )
