"""Two of an organization's own numbers that have written to each other, and who speaks on them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

from chassis.clock import SettableClock
from prosa.ingest.v1 import connection_service_pb2 as connection_pb
from prosa.ingest.v1.connection_service_pb2_grpc import ConnectionServiceStub
from prosa.outreach.v1 import send_service_pb2 as send_pb
from prosa.outreach.v1.send_service_pb2_grpc import SendServiceStub
from prosa.v1 import options_pb2
from sandbox.chatwoot.people import Person, phone_of
from sandbox.chatwoot.records import WHATSAPP
from tests.integration.main_way.answering import Shop, Talk
from tests.integration.outreach.test_kill_and_policy import Rest
from tests.world import ADMIN, World

SECOND_INBOX = 771
_numbers = count(uuid4().int % 10_000_000)
UNDER_WAY = """
select 1 where not exists (
  select from conversation.round_queue where coalesce(next_attempt_time, due_time) <= %s
) and not exists (
  select from conversation.delivery_queue where coalesce(next_attempt_time, due_time) <= %s
)
"""


@dataclass
class Numbers:
    """Two numbers: what each is, and its conversation with the other."""

    shop: Shop
    phones: tuple[str, str]
    talks: tuple[Talk, Talk]
    channel_ids: tuple[str, str]
    persona_ids: tuple[str, str]

    @property
    def admin(self) -> Rest:
        """An administrator with a token of just now."""
        return Rest(self.shop.world, self.shop.harness.organization_id, ADMIN)

    @property
    def participants(self) -> list[dict[str, str]]:
        """As a script names them."""
        return [
            {"channel_id": channel_id, "persona_id": persona_id, "phone": phone}
            for channel_id, persona_id, phone in zip(self.channel_ids, self.persona_ids, self.phones, strict=True)
        ]

    async def script(self, **values: Any) -> Any:
        """A script between them, as it is answered."""
        body = {"name": f"Vizinhas {uuid4()}", "participants": self.participants, "topics": ["o bolo de sábado"]}
        status, script = await self.admin.call("POST", "/scripts", body | values)
        assert status == 200, script
        return script


async def two_numbers(shop: Shop) -> Numbers:
    """Two numbers of an organization that may send at any hour, and has accepted the terms."""
    harness, world = shop.harness, shop.world
    admin = Rest(world, harness.organization_id, ADMIN)
    acting = world.as_service("cli", harness.organization_id)
    await acting.stub(ConnectionServiceStub).CreateChannel(
        connection_pb.CreateChannelRequest(
            connection_id=harness.connection.connection_id,
            name="Vendas",
            source=options_pb2.SOURCE_WHATSAPP,
            inbox_id=SECOND_INBOX,
        )
    )
    shop.chatwoot.setup.add_inbox(WHATSAPP, "WhatsApp Vendas", inbox_id=SECOND_INBOX)
    await allow_any_hour(world, harness.organization_id)
    first_row = shop.chatwoot.setup.inbox("whatsapp")
    second_row = shop.chatwoot.setup.inbox(SECOND_INBOX)
    assert first_row is not None
    assert second_row is not None
    phones = phone_of(next(_numbers)), phone_of(next(_numbers))
    talks = [
        await shop.known(shop.chatwoot.incoming_message(row, Person(name, phone=phone), "Oi, é a outra loja."))
        for row, name, phone in ((first_row, "Loja B", phones[1]), (second_row, "Loja A", phones[0]))
    ]
    rows = [
        await world.rows(
            "select channel_id::text from conversation.conversations where conversation_id::text = %s",
            talk.conversation_id,
        )
        for talk in talks
    ]
    persona_ids = [await persona(admin, name) for name in ("Lia", "Rosa")]
    return Numbers(
        shop,
        phones,
        (talks[0], talks[1]),
        (rows[0][0]["channel_id"], rows[1][0]["channel_id"]),
        (persona_ids[0], persona_ids[1]),
    )


async def allow_any_hour(world: World, organization_id: UUID) -> None:
    """Lets an organization send at any hour, and accepts the terms for it."""
    owner = world.as_user(organization_id).stub(SendServiceStub)
    await owner.UpdateSendPolicy(send_pb.UpdateSendPolicyRequest(quiet_hours=send_pb.QuietHoursSet()))
    terms = await owner.GetTerms(send_pb.GetTermsRequest())
    await owner.AcceptTerms(send_pb.AcceptTermsRequest(terms_version=terms.terms_version))


async def persona(admin: Rest, name: str) -> str:
    """Makes a persona that always has something to say; answers its id."""
    status, made = await admin.call(
        "POST",
        "/personas",
        {
            "name": f"{name} {uuid4()}",
            "morning_greeting": "Bom dia!",
            "afternoon_greeting": "Boa tarde!",
            "evening_greeting": "Boa noite!",
            "fallback_texts": [f"Que bom, diz {name}.", f"Conta mais, diz {name}.", f"Entendi, diz {name}."],
        },
    )
    assert status == 200, made
    return str(made["persona_id"])


def window(
    clock: SettableClock,
    hours: int = 2,
    round_count: int = 1,
    *,
    begins: timedelta = timedelta(minutes=15),
    length: timedelta | None = None,
) -> dict[str, Any]:
    """A window that begins in a quarter of an hour, or in the time that is named, in UTC."""
    begin, minutes = clock.now() + begins, (length or timedelta(hours=hours)) // timedelta(minutes=1)
    minute = begin.hour * 60 + begin.minute
    return {
        "weekday": begin.isoweekday(),
        "start_minute": minute,
        "end_minute": (minute + minutes) % 1440,
        "round_count": round_count,
    }


async def run_for(world: World, clock: SettableClock, time: timedelta) -> None:
    """Lets time go by, waiting for what rounds and deliveries do in it."""

    async def settled() -> None:
        await world.until(UNDER_WAY, clock.now(), clock.now())

    await clock.run_until(clock.now() + time, settled)
