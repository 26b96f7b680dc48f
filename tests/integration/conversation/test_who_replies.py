"""Who answers customers, and how: personas and conversation settings over REST."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from chassis.crypto import Vault
from prosa.conversation.v1 import settings_service_pb2 as pb
from prosa.conversation.v1.events_pb2 import ConversationSettingsChanged
from prosa.conversation.v1.settings_service_pb2_grpc import SettingsServiceStub
from services.conversation.settings.choosing import MODEL_KEY_COLUMN
from tests.integration.identity.cast import given_organization
from tests.integration.outreach.test_kill_and_policy import Rest
from tests.world import ADMIN, AGENT, World

TARGETS = ("identity", "conversation", "gateway")
KEY = "sk-uma-chave-de-teste"


@pytest.fixture
async def organization_id(world: World) -> UUID:
    """An organization that no other test knows."""
    return await given_organization(world)


@pytest.fixture
def admin(world: World, organization_id: UUID) -> Rest:
    """Its administrator."""
    return Rest(world, organization_id, ADMIN)


async def given_persona(admin: Rest, **values: Any) -> Any:
    """A persona as it is answered."""
    status, persona = await admin.call("POST", "/personas", {"name": f"Lia {uuid4()}"} | values)
    assert status == 200, persona
    return persona


async def test_a_persona_is_made_read_listed_changed_and_ended(admin: Rest) -> None:
    template = {"intent": "preço", "phrases": ["quanto custa"], "texts": ["Custa R$ 50."]}
    lia = await given_persona(admin, name="Lia", temperature=0, reply_templates=[template])
    assert (lia["language"], lia["temperature"], lia["text_length_max"]) == ("pt-BR", 0, 600)
    assert lia["reply_templates"] == [template]
    ana = await given_persona(admin, name="Ana")
    assert await admin.call("GET", f"/personas/{lia['persona_id']}") == (200, lia)
    status, page = await admin.call("GET", "/personas?page_size=1")
    assert (status, page["personas"]) == (200, [ana])
    _, page = await admin.call("GET", f"/personas?page_size=1&page_token={page['next_page_token']}")
    assert (page["personas"], page["next_page_token"]) == ([lia], "")
    path = f"/personas/{lia['persona_id']}"
    status, changed = await admin.call("PATCH", path, {"style": "breve", "temperature": 1.5, "etag": lia["etag"]})
    assert (status, changed["style"], changed["temperature"], changed["name"]) == (200, "breve", 1.5, "Lia")
    status, refused = await admin.call("PATCH", path, {"style": "longo", "etag": lia["etag"]})
    assert (status, refused["reason"]) == (409, "ETAG_STALE")
    status, refused = await admin.call("PATCH", path, {"name": "Ana"})
    assert (status, refused["reason"]) == (409, "NAME_TAKEN")
    status, refused = await admin.call("PATCH", path, {})
    assert (status, refused["reason"]) == (400, "NOTHING_TO_CHANGE")
    assert await admin.call("DELETE", path) == (200, {})
    status, refused = await admin.call("GET", path)
    assert (status, refused["reason"]) == (404, "PERSONA_NOT_FOUND")


async def test_settings_begin_with_automation_on_and_nobody_replying(admin: Rest, organization_id: UUID) -> None:
    status, settings = await admin.call("GET", "/conversation-settings")
    assert (status, settings["automation_enabled"], settings["reply_mode"]) == (200, True, "OFF")
    assert (settings["update_time"], settings["etag"], settings["model_key_set"]) == (None, "0", False)


async def test_a_change_of_settings_is_announced_without_its_key(
    world: World, admin: Rest, organization_id: UUID
) -> None:
    persona = await given_persona(admin)
    body = {"automation_enabled": False, "reply_mode": "MODEL", "persona_id": persona["persona_id"], "model_key": KEY}
    status, changed = await admin.call("PATCH", "/conversation-settings", body | {"reason": "volta atrás"})
    assert (status, changed["automation_enabled"], changed["reply_mode"], changed["model_key_set"]) == (
        *(200, False, "MODEL"),
        True,
    )
    assert await admin.call("GET", "/conversation-settings") == (200, changed)
    # What is as it was is no change, and nobody is told.
    assert await admin.call("PATCH", "/conversation-settings", {"automation_enabled": False}) == (200, changed)
    (fact,) = await world.announced(ConversationSettingsChanged, organization_id)
    assert list(fact.changed_fields) == ["automation_enabled", "reply_mode", "persona_id", "model_key"]
    assert (fact.actor.name, fact.version) == ("ana@example.com", 1)
    assert KEY.encode() not in fact.SerializeToString()
    (row,) = await world.rows(
        "select model_key_sealed from conversation.conversation_settings where organization_id = %s", organization_id
    )
    opened = Vault.load(world.host.settings.keys_dir).open(
        row["model_key_sealed"], organization_id=organization_id, column=MODEL_KEY_COLUMN
    )
    assert opened.decode() == KEY


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "NOTHING_TO_CHANGE"),
        ({"debounce_seconds": 31}, "DEBOUNCE_INVALID"),
        ({"reply_mode": "SCRIPTED"}, "PERSONA_NOT_FOUND"),
        ({"persona_id": str(UUID(int=7))}, "PERSONA_NOT_FOUND"),
        ({"model_base_url": "api.openai.com"}, "URL_INVALID"),
        ({"model_base_url": "http://192.168.0.9/v1"}, "ADDRESS_PRIVATE"),
        ({"debounce_seconds": 9, "etag": "7"}, "ETAG_STALE"),
    ],
)
async def test_settings_that_cannot_be_are_refused(admin: Rest, body: dict[str, Any], reason: str) -> None:
    status, refused = await admin.call("PATCH", "/conversation-settings", body)
    assert (400 <= status < 500, refused["reason"]) == (True, reason)
    assert (await admin.call("GET", "/conversation-settings"))[1]["etag"] == "0"


async def test_a_kept_key_goes_to_no_other_server(admin: Rest) -> None:
    persona = await given_persona(admin)
    who = {"reply_mode": "MODEL", "persona_id": persona["persona_id"]}
    status, refused = await admin.call("PATCH", "/conversation-settings", who)
    assert (status, refused["reason"]) == (400, "MODEL_KEY_NEEDED")
    status, _ = await admin.call("PATCH", "/conversation-settings", who | {"model_key": KEY})
    assert status == 200
    elsewhere = {"model_base_url": "https://models.example/v1"}
    status, refused = await admin.call("PATCH", "/conversation-settings", elsewhere)
    assert (status, refused["reason"]) == (400, "MODEL_KEY_NEEDED")
    status, changed = await admin.call("PATCH", "/conversation-settings", elsewhere | {"model_key": "sk-outra"})
    assert (status, changed["model_base_url"]) == (200, elsewhere["model_base_url"])


async def test_who_replies_cannot_be_ended(admin: Rest) -> None:
    persona = await given_persona(admin)
    path = f"/personas/{persona['persona_id']}"
    await admin.call("PATCH", "/conversation-settings", {"persona_id": persona["persona_id"]})
    status, refused = await admin.call("DELETE", path)
    assert (status, refused["reason"]) == (400, "PERSONA_IN_USE")
    await admin.call("PATCH", "/conversation-settings", {"persona_id": ""})
    assert await admin.call("DELETE", path) == (200, {})


async def test_agents_read_settings_and_change_none(world: World, organization_id: UUID) -> None:
    agent = Rest(world, organization_id, AGENT)
    assert (await agent.call("GET", "/conversation-settings"))[0] == 200
    status, refused = await agent.call("PATCH", "/conversation-settings", {"automation_enabled": False})
    assert (status, refused["reason"]) == (403, "ROLE_TOO_LOW")


async def test_ingest_switches_automation_off_and_reads_it_back(world: World, organization_id: UUID) -> None:
    ingest = world.as_service("ingest", organization_id).stub(SettingsServiceStub)
    await ingest.UpdateConversationSettings(pb.UpdateConversationSettingsRequest(automation_enabled=False))
    assert not (await ingest.GetConversationSettings(pb.GetConversationSettingsRequest())).automation_enabled
