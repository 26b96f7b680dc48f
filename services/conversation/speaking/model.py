"""Asks an OpenAI-compatible server what to say, by its own client, through the guard that keeps addresses public."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from chassis.outgoing import Outgoing

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam

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
        # Half a second and 50 MB, which only those pay who ask a model; a thread, so that nobody waits for it.
        openai = await asyncio.to_thread(importlib.import_module, "openai")
        for wait in (*RETRY_WAITS, None):
            try:
                return _read(await self._complete(prompt))
            except openai.APIStatusError as error:
                logger.warning("model_refused", status=error.status_code)
                if wait is None or (error.status_code != 429 and error.status_code < 500):
                    return None
                await self._sleep(wait)
            except (openai.OpenAIError, ValueError) as error:
                # The second where no request can be made of what is kept, such as a key from an older release.
                logger.warning("model_away", error=str(error.__cause__ or error))
                return None
        return None

    async def _complete(self, prompt: Prompt) -> bytes:
        import httpx2
        from openai import AsyncOpenAI

        from services.conversation.speaking.guarded import GuardedTransport

        transport = GuardedTransport(self._outgoing, total_seconds=SECONDS, answer_bytes_max=ANSWER_BYTES_MAX)
        async with AsyncOpenAI(
            api_key=prompt.key,
            base_url=prompt.base_url,
            # Tried again above, by waits that tests choose.
            max_retries=0,
            http_client=httpx2.AsyncClient(transport=transport, trust_env=False, follow_redirects=False),
        ) as client:
            # As it came: a server that only calls itself compatible says odd things.
            answer = await client.chat.completions.with_raw_response.create(
                model=prompt.model,
                temperature=prompt.temperature,
                messages=[
                    {"role": "system", "content": prompt.system},
                    *(_message(role, text) for role, text in prompt.history),
                ],
            )
            return answer.content


def _message(role: str, text: str) -> ChatCompletionMessageParam:
    return {"role": "user", "content": text} if role == "user" else {"role": "assistant", "content": text}


def _read(answer: bytes) -> Said | None:
    """An answer's first choice; None where it is no such answer."""
    try:
        body: Any = orjson.loads(answer)
        text = body["choices"][0]["message"]["content"]
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        logger.warning("model_answer_unreadable")
        return None
    usage = body.get("usage")
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else 0
    counted = tokens if type(tokens) is int and 0 < tokens < 2**31 else 0
    said = text.replace("\x00", "").strip() if isinstance(text, str) else ""
    return Said(said.encode("utf-8", "replace").decode(), counted)
