"""The sender: Chatwoot as it should be, which sends again until it is told 200, and notes every answer it gets."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import aiohttp

from sandbox.chatwoot.signing import signed_request
from tests.chaos.correspondence import Correspondence, Letter
from tests.chaos.pace import Pace

IN_FLIGHT_MAX = 24
OPEN_MAX = 48
"""How many correspondences go on at once: new people keep writing until late in the run, not all at its beginning."""
PROVIDER_TIMEOUT_SECONDS = 5.0
"""How long Chatwoot waits."""
ANSWER_SECONDS_MAX = 4.0
RETRY_SECONDS = (0.2, 0.6)
LETTER_SECONDS_MAX = 150.0
"""A letter that is not accepted for so long ends the run: the system does not recover."""
NEW_DELIVERY_SHARE = 0.4
"""How often a letter that must go again goes under a new delivery id."""
REPEAT_SHARE = 0.03
"""How often a letter goes again though it was answered 200."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One attempt and how it ended; times are monotonic seconds."""

    begun: float
    ended: float
    status: int | None
    """None where no HTTP answer came."""
    retry_after: bool
    failure: str

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.begun


@dataclass(slots=True)
class Outages:
    """When the gateway's own process was dead or frozen."""

    spans: list[tuple[float, float]] = field(default_factory=list)
    _since: float | None = None

    def begin(self) -> None:
        """It is about to be killed or frozen."""
        self._since = time.monotonic()

    def end(self) -> None:
        """It answers again."""
        assert self._since is not None
        self.spans.append((self._since, time.monotonic()))
        self._since = None

    def touch(self, answer: Answer) -> bool:
        """Whether an attempt fell into one of them, be it in part."""
        return any(begun < answer.ended and answer.begun < ended for begun, ended in self.spans)


class Sender:
    """Sends every correspondence in its order, many side by side."""

    def __init__(self, url: str, secret: str, correspondences: Sequence[Correspondence], pace: Pace, seed: int) -> None:
        self._url = url
        self._secret = secret
        self._correspondences = correspondences
        self._pace = pace
        self._draw = random.Random(f"{seed} sender")
        self._slots = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._open = asyncio.Semaphore(OPEN_MAX)
        self.answers: list[Answer] = []
        self.accepted: dict[UUID, Letter] = {}
        """Every webhook event that a 200 named."""
        self.accepted_count = 0
        """How many letters were answered 200 at least once."""
        self._progress = asyncio.Condition()

    async def run(self) -> None:
        """Returns when every letter was answered 200. Raises TimeoutError when one is not in time."""
        connector = aiohttp.TCPConnector(limit=IN_FLIGHT_MAX)
        async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
            for correspondence in self._correspondences:
                group.create_task(self._send_all(session, correspondence))

    async def until_accepted(self, count: int) -> None:
        """Waits until so many letters were answered 200."""
        async with self._progress:
            await self._progress.wait_for(lambda: self.accepted_count >= count)

    def statuses(self) -> Counter[str]:
        """How many attempts ended how."""
        return Counter(str(answer.status) if answer.status is not None else answer.failure for answer in self.answers)

    async def _send_all(self, session: aiohttp.ClientSession, correspondence: Correspondence) -> None:
        async with self._open:
            for letter in correspondence.letters:
                await self._pace.next()
                await self._send(session, letter)

    async def _send(self, session: aiohttp.ClientSession, letter: Letter) -> None:
        delivery_id = self._new_id()
        deadline = time.monotonic() + LETTER_SECONDS_MAX
        while not await self._attempt(session, letter, delivery_id):
            if time.monotonic() > deadline:
                raise TimeoutError(f"a {letter.name} was not accepted within {LETTER_SECONDS_MAX:g} s")
            await asyncio.sleep(self._draw.uniform(*RETRY_SECONDS))
            delivery_id = self._perhaps_another(delivery_id)
        async with self._progress:
            self.accepted_count += 1
            self._progress.notify_all()
        if self._draw.random() < REPEAT_SHARE:
            await self._attempt(session, letter, self._perhaps_another(delivery_id))

    async def _attempt(self, session: aiohttp.ClientSession, letter: Letter, delivery_id: str) -> bool:
        async with self._slots:
            headers = signed_request(letter.body, self._secret, delivery_id, int(time.time()))
            begun = time.monotonic()
            status, retry_after, failure, event_id = None, False, "", None
            try:
                async with (
                    asyncio.timeout(PROVIDER_TIMEOUT_SECONDS),
                    session.post(self._url, data=letter.body, headers=headers) as response,
                ):
                    status, retry_after = response.status, "Retry-After" in response.headers
                    content = await response.json(content_type=None)
                    event_id = content.get("webhook_event_id")
            except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
                status, failure = None, type(error).__name__
            self.answers.append(Answer(begun, time.monotonic(), status, retry_after, failure))
        if status != 200:
            return False
        self.accepted[UUID(event_id)] = letter
        return True

    def _perhaps_another(self, delivery_id: str) -> str:
        return self._new_id() if self._draw.random() < NEW_DELIVERY_SHARE else delivery_id

    def _new_id(self) -> str:
        return str(UUID(int=self._draw.getrandbits(128), version=4))
