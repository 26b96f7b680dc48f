"""The demo's colleague: takes one conversation over, answers it, and gives it back, over the API that the pages use."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid5

import aiohttp
import grpc.aio
import structlog

from cli.calls import CALL_SECONDS, Calls
from prosa.identity.v1 import member_service_pb2 as members
from prosa.identity.v1.member_service_pb2_grpc import MemberServiceStub
from prosa.v1.options_pb2 import ROLE_AGENT

EMAIL = "livia@escola-ipe.example"
CUSTOMER = "Teresa Lobato"
QUESTION, THANKS = (
    "Oi! Fiz o teste de nível e não entendi o resultado. Alguém pode me explicar?",
    "Agora sim, obrigada!",
)
ANSWER = "Oi, Teresa! Aqui é a Lívia. B1 quer dizer que você já conversa bem; a turma de quinta é para você."
REASON = "Quer falar com uma pessoa."
PAUSE_SECONDS = 4.0
"""Between steps, so that whoever looks on sees each."""
LOOK_AGAIN_SECONDS = 0.5
AGAIN_SECONDS = 5.0
WAITING = ("QUEUED", "SENDING", "UNCERTAIN")

logger = structlog.get_logger(__name__)


class RefusedError(Exception):
    """A call that will not be answered otherwise, however often it is made."""


class Colleague:
    """Answers one conversation of each run of the demo."""

    def __init__(
        self,
        calls: Calls,
        organization_id: str,
        url: str,
        chatwoot_url: str,
        password: str,
        *,
        run: int,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._calls, self._organization_id, self._password = calls, organization_id, password
        self._url, self._incoming = url, f"{chatwoot_url}/_sandbox/incoming"
        self._run, self._pause_seconds = run, pause_seconds
        self._headers: dict[str, str] = {}

    async def answer(self) -> None:
        """From the customer's question to their thanks; services may be restarted meanwhile."""
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            try:
                await self._come(session)
                await self._talk(session)
            except RefusedError as refused:
                logger.info("demo_colleague_gave_up", reason=str(refused))

    async def _come(self, session: aiohttp.ClientSession) -> None:
        """Signs in; the first time with an invitation, as any colleague does."""
        given = {"email": EMAIL, "password": self._password, "organization_id": self._organization_id}
        try:
            token = await self._call(session, "POST", "/api/v1/sessions", given)
        except RefusedError:
            await self._join()
            token = await self._call(session, "POST", "/api/v1/sessions", given)
        self._headers = {"Authorization": f"Bearer {token['access_token']}"}

    async def _join(self) -> None:
        """Is invited, and comes."""
        stub = self._calls.stub(MemberServiceStub, "identity")
        try:
            made = await stub.CreateInvitation(
                members.CreateInvitationRequest(email=EMAIL, role=ROLE_AGENT),
                metadata=self._calls.organization(self._organization_id),
                timeout=CALL_SECONDS,
            )
            await stub.AcceptInvitation(
                members.AcceptInvitationRequest(secret=made.secret, password=self._password), timeout=CALL_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            # Whoever was made by a home whose memory is lost keeps their password.
            raise RefusedError(error.details()) from error

    async def _talk(self, session: aiohttp.ClientSession) -> None:
        thread = await self._say(session, QUESTION)
        path = f"/api/v1/conversations/{await self._known(session, thread)}"
        await asyncio.sleep(self._pause_seconds)
        await self._hand(session, path, "HUMAN")
        await asyncio.sleep(self._pause_seconds)
        message = {"text": ANSWER, "request_id": self._id("answer")}
        sent = await self._call(session, "POST", f"{path}/messages", message)
        delivery = sent["delivery"]
        while delivery["state"] in WAITING:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            delivery = await self._call(session, "GET", f"/api/v1/deliveries/{sent['message_id']}")
        await asyncio.sleep(self._pause_seconds)
        await self._say(session, THANKS)
        await asyncio.sleep(self._pause_seconds)
        await self._hand(session, path, "AI")

    async def _hand(self, session: aiohttp.ClientSession, path: str, mode: str) -> None:
        order = {"mode": mode, "reason": REASON if mode == "HUMAN" else "", "request_id": self._id(mode)}
        await self._call(session, "POST", f"{path}:setHandoff", order)

    async def _known(self, session: aiohttp.ClientSession, thread: str) -> str:
        """The conversation's id, once Prosa knows of it."""
        while True:
            path = f"/api/v1/conversations?provider_conversation_id={thread}"
            for found in (await self._call(session, "GET", path))["conversations"]:
                if found["contact_name"] == CUSTOMER:
                    return str(found["conversation_id"])
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def _say(self, session: aiohttp.ClientSession, text: str) -> str:
        """The customer writes; answers the provider's id of the conversation."""
        order = {"inbox": "whatsapp", "name": CUSTOMER, "text": text}
        while True:
            try:
                async with session.post(self._incoming, json=order) as answer:
                    answer.raise_for_status()
                    return str((await answer.json())["conversation_id"])
            except (aiohttp.ClientError, TimeoutError) as error:
                logger.info("fake_chatwoot_away", error=repr(error))
                await asyncio.sleep(AGAIN_SECONDS)

    async def _call(
        self, session: aiohttp.ClientSession, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> Any:
        """What a call brought; who is away is asked again. Raises RefusedError."""
        while True:
            try:
                async with session.request(method, self._url + path, json=body, headers=self._headers) as answer:
                    told = await answer.json(content_type=None)
                    if answer.status < 400:
                        return told
                    reason = f"{path}: {answer.status} {told.get('reason', '')}"
                    if answer.status < 500 and answer.status != 429:
                        raise RefusedError(reason)
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                reason = repr(error)
            logger.info("demo_colleague_waits", reason=reason)
            await asyncio.sleep(AGAIN_SECONDS)

    def _id(self, what: str) -> str:
        """The same for every try of this run."""
        return str(uuid5(UUID(self._organization_id), f"demo {self._run} {what}"))
