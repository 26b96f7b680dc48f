"""What a person can do next: where to look, how to sign in, what to type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def guide(content: Mapping[str, Any], home: Path, stand_in_url: str = "") -> Iterator[str]:
    """What is shown below the address when everything is ready; with examples where a stand-in Chatwoot runs."""
    url = content["url"]
    yield f"  API            {url}/api/docs"
    yield f"  logs           {home / 'logs'}"
    yield f"  access         {home / 'bootstrap.json'} (only you can read it)"
    if content["organization_id"] is None:
        yield ""
        yield "There is no organization yet:"
        yield "  prosa org create --name 'Your business' --admin you@example.com"
        yield ""
        yield "Ctrl-C stops everything."
        return
    if content["admin"] is not None:
        yield f"  demo sign-in   {content['admin']['email']}  {content['admin']['password']}"
    if stand_in_url:
        yield from _examples(url, home, stand_in_url)
    yield ""
    yield "Ctrl-C stops everything."


def _examples(url: str, home: Path, stand_in_url: str) -> Iterator[str]:
    file = home / "bootstrap.json"
    yield ""
    yield "Try, in another terminal:"
    yield f"""  KEY=$(sed -n 's/.*"api_key": "\\(.*\\)".*/\\1/p' '{file}')"""
    yield f"  curl -s -H \"X-Api-Key: $KEY\" '{url}/api/v1/contacts?page_size=3'"
    yield f"  curl -s -H \"X-Api-Key: $KEY\" '{url}/api/v1/webhook-events?page_size=3'"
    yield (
        f'  curl -s -H "X-Api-Key: $KEY" {url}/api/v1/contacts:ensure '
        '-d \'{"source":"WHATSAPP","external_id":"+5511900004821","name":"Ana"}\''
    )
    yield f'  curl -N -H "X-Api-Key: $KEY" {url}/api/v1/stream'
    yield "A customer writes: the stand-in Chatwoot signs the webhook and sends it."
    yield (
        f"  curl -s {stand_in_url}/_sandbox/incoming "
        """-d '{"inbox":"instagram","name":"Ana Prado","text":"Oi! Tem vaga?"}'"""
    )
