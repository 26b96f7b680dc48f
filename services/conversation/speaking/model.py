"""Asks an OpenAI-compatible server what to say, through the guard that keeps addresses of others public."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from chassis.outgoing import Answer, Outgoing, OutgoingError

SECONDS = 20.0
"""Of one request, from resolving the name to the last byte."""
RETRY_WAITS = (0.5, 1.0)
"""How long is waited after an answer that says "later" (429) or tells of the server's own trouble (5xx)."""
ANSWER_BYTES_MAX = 256 * 1024

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Said:
    """What a model said, and what it took."""

    text: str
    """Empty where it said nothing that can be used."""
    token_count: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked."""

    base_url: str
    key: str
    model: str
    temperature: float
    system: str
    history: Sequence[tuple[str, str]]
    """Roles ("user", "assistant") and texts, oldest first."""


class Model:
    """A client of chat completions; it gives the model no tools."""

    def __init__(self, outgoing: Outgoing, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._outgoing, self._sleep = outgoing, sleep

    async def ask(self, prompt: Prompt) -> Said | None:
        """What it says; None where it did not answer."""
        body = orjson.dumps(
            {
                "model": prompt.model,
                "temperature": prompt.temperature,
                "messages": [
                    {"role": "system", "content": prompt.system},
                    *({"role": role, "content": text} for role, text in prompt.history),
                ],
            }
        )
        for wait in (*RETRY_WAITS, None):
            try:
                answer = await self._outgoing.call(
                    "POST",
                    self._outgoing.read(f"{prompt.base_url}/chat/completions"),
                    headers={"Authorization": f"Bearer {prompt.key}", "Content-Type": "application/json"},
                    body=body,
                    total_seconds=SECONDS,
                    answer_bytes_max=ANSWER_BYTES_MAX,
                )
            except (OutgoingError, OSError) as error:
                logger.warning("model_away", error=str(error))
                return None
            if answer.status == 200:
                return _read(answer)
            logger.warning("model_refused", status=answer.status)
            if wait is None or (answer.status != 429 and answer.status < 500):
                return None
            await self._sleep(wait)
        return None


def _read(answer: Answer) -> Said | None:
    """An answer's first choice; None where it is no such answer."""
    try:
        body: Any = orjson.loads(answer.body)
        text = body["choices"][0]["message"]["content"]
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        logger.warning("model_answer_unreadable")
        return None
    usage = body.get("usage")
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else 0
    counted = tokens if type(tokens) is int and 0 < tokens < 2**31 else 0
    said = text.replace("\x00", "").strip() if isinstance(text, str) else ""
    return Said(said.encode("utf-8", "replace").decode(), counted)
