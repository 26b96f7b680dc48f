"""The demo's campaign: two people who wrote before are written to; one goes on, one asks to be left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid5

import aiohttp
import grpc.aio
import structlog

from cli.calls import CALL_SECONDS, Calls
from cli.demo.live import RECEIVED, SENT, follow
from cli.demo.terms import allow_any_hour
from prosa.conversation.v1 import events_pb2 as facts
from prosa.outreach.v1 import campaign_service_pb2 as campaign_pb
from prosa.outreach.v1 import list_service_pb2 as list_pb
from prosa.outreach.v1.campaign_service_pb2_grpc import CampaignServiceStub
from prosa.outreach.v1.list_service_pb2_grpc import ListServiceStub

NAME = "Aula aberta de sábado"
TEXT = "Oi {name}! Sábado às 10h tem aula aberta na Escola Ipê. Posso guardar um lugar?"
GOES_ON, OPTS_OUT = "Renata Campos", "Marcos Vidal"
ANSWERS = {GOES_ON: "Quero sim, obrigada!", OPTS_OUT: "SAIR"}
LOOK_AGAIN_SECONDS = 0.5
AGAIN_SECONDS = 5.0

logger = structlog.get_logger(__name__)


class Campaigner:
    """Runs the campaign once; started again, it goes on where it stood."""

    def __init__(self, calls: Calls, organization_id: str, url: str, api_key: str, chatwoot_url: str) -> None:
        self._calls, self._organization_id = calls, organization_id
        self._url, self._api_key = url, api_key
        self._chatwoot = f"{chatwoot_url}/_sandbox/incoming"
        self._metadata = calls.organization(organization_id)
        self._lists = calls.stub(ListServiceStub, "outreach")
        self._campaigns = calls.stub(CampaignServiceStub, "outreach")

    async def keep_on(self) -> None:
        """Tries until the campaign has been sent: services may be restarted meanwhile."""
        while True:
            try:
                async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_SECONDS)) as session:
                    await self.run(session)
                return
            except (grpc.aio.AioRpcError, aiohttp.ClientError, TimeoutError) as error:
                logger.info("demo_campaign_waits", error=repr(error)[:300])
                await asyncio.sleep(AGAIN_SECONDS)

    async def run(self, session: aiohttp.ClientSession) -> None:
        """From the first words of two people to the confirmation of one."""
        known = await self._campaigns.ListCampaigns(
            campaign_pb.ListCampaignsRequest(), metadata=self._metadata, timeout=CALL_SECONDS
        )
        if known.campaigns:
            return
        await allow_any_hour(self._calls, self._organization_id)
        for name in ANSWERS:
            await self._say(session, name, "Oi! Vocês têm aula aos sábados?")
        received = await self._heard()
        list_id = await self._import(session, received)
        channel_id = received[GOES_ON].channel_id
        made = await self._campaigns.CreateCampaign(
            campaign_pb.CreateCampaignRequest(
                name=NAME, contact_list_id=list_id, channel_id=channel_id, text=TEXT, request_id=self._id("campaign")
            ),
            metadata=self._metadata,
            timeout=CALL_SECONDS,
        )
        await self._campaigns.StartCampaign(
            campaign_pb.StartCampaignRequest(campaign_id=made.campaign_id),
            metadata=self._metadata,
            timeout=CALL_SECONDS,
        )
        await self._answer(session, {received[name].contact_id: name for name in ANSWERS})

    async def _import(self, session: aiohttp.ClientSession, received: dict[str, facts.MessageReceived]) -> str:
        """A list of the two, filled from a file with a row at fault."""
        made = await self._lists.CreateContactList(
            list_pb.CreateContactListRequest(name=NAME, request_id=self._id("list")),
            metadata=self._metadata,
            timeout=CALL_SECONDS,
        )
        begun = await self._lists.CreateContactImport(
            list_pb.CreateContactImportRequest(
                contact_list_id=made.contact_list_id, file_name="aula-aberta.csv", request_id=self._id("import")
            ),
            metadata=self._metadata,
            timeout=CALL_SECONDS,
        )
        rows = [f"{name};{received[name].conversation_key.removeprefix('whatsapp:')}" for name in ANSWERS]
        file = "\n".join(["nome;telefone", *rows, "Sem telefone;", ""]).encode()
        path = f"{self._url}/api/v1/contact-imports/{begun.contact_import_id}/file"
        if begun.state == list_pb.IMPORT_STATE_UPLOADING:
            async with session.put(path, data=file, headers={"X-Api-Key": self._api_key}) as answer:
                answer.raise_for_status()
        await self._lists.StartContactImport(
            list_pb.StartContactImportRequest(contact_import_id=begun.contact_import_id, request_id=self._id("start")),
            metadata=self._metadata,
            timeout=CALL_SECONDS,
        )
        while True:
            kept = await self._lists.GetContactImport(
                list_pb.GetContactImportRequest(contact_import_id=begun.contact_import_id),
                metadata=self._metadata,
                timeout=CALL_SECONDS,
            )
            if kept.state == list_pb.IMPORT_STATE_DONE:
                return str(made.contact_list_id)
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def _heard(self) -> dict[str, facts.MessageReceived]:
        """What the two wrote, by name."""
        found: dict[str, facts.MessageReceived] = {}
        async for fact in self._received():
            if fact.message.author_name in ANSWERS and fact.contact_id:
                found[fact.message.author_name] = fact
            if found.keys() == ANSWERS.keys():
                break
        return found

    async def _received(self) -> AsyncIterator[facts.MessageReceived]:
        async for event in follow(self._calls, self._organization_id, (RECEIVED,), after_position=0):
            yield facts.MessageReceived.FromString(event.payload)

    async def _answer(self, session: aiohttp.ClientSession, waiting: dict[str, str]) -> None:
        """Each answers once written to."""
        async for event in follow(self._calls, self._organization_id, (SENT,), after_position=0):
            fact = facts.MessageSent.FromString(event.payload)
            if fact.message.delivery.cause.startswith("touch:") and fact.contact_id in waiting:
                name = waiting.pop(fact.contact_id)
                await self._say(session, name, ANSWERS[name])
            if not waiting:
                return

    async def _say(self, session: aiohttp.ClientSession, name: str, text: str) -> None:
        order = {"inbox": "whatsapp", "name": name, "text": text}
        async with session.post(self._chatwoot, json=order) as answer:
            answer.raise_for_status()

    def _id(self, what: str) -> str:
        """The same for every try."""
        return str(uuid5(UUID(self._organization_id), f"demo {what}"))
