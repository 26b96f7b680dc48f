"""The REST answers and refusals of the fake, over real HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sandbox.chatwoot.app import make_app, set_up_account
from sandbox.chatwoot.faults import Fault, Faults
from sandbox.chatwoot.people import Person, phone_of
from sandbox.chatwoot.records import EVENTS, Conversation
from sandbox.chatwoot.sender import Sender
from sandbox.chatwoot.world import World
from tests.integration.sandbox.receiver import Receiver, receiving
from tests.unit.sandbox.clock import TickingClock

TOKEN = "token-da-administradora"
SECRET = "segredo-do-teste"
ANA = Person("Ana Quintela", phone="+5511900000001", igsid="7730000000000001", username="ana.q")


class Fake:
    """A running fake, a client signed in as its administrator, and a receiver of its webhooks."""

    def __init__(self, world: World, sender: Sender, faults: Faults, receiver: Receiver) -> None:
        self.world, self.sender, self.faults, self.receiver = world, sender, faults, receiver
        self.url = ""
        self.client = aiohttp.ClientSession()

    async def call(
        self, method: str, path: str, body: Any = None, *, token: str | None = TOKEN, account_id: int = 7
    ) -> tuple[int, Any]:
        """Status and parsed answer of one call; a path without slash lies under the account."""
        target = path if path.startswith("/") else f"/api/v1/accounts/{account_id}/{path}"
        headers = {} if token is None else {"Api-Access-Token": token}
        async with self.client.request(method, self.url + target, json=body, headers=headers) as response:
            raw = await response.read()
            return response.status, await response.json() if raw and response.content_type.endswith("json") else raw

    def written(self, inbox: str = "whatsapp", person: Person = ANA, text: str = "Oi") -> Conversation:
        """A conversation in which the person has just written."""
        row = self.world.setup.inbox(inbox)
        assert row is not None
        return self.world.incoming_message(row, person, text).conversation


@pytest.fixture
async def fake() -> AsyncIterator[Fake]:
    clock, faults = TickingClock(), Faults()
    world = World(clock, seed=4, account_id=7)
    set_up_account(world, access_token=TOKEN, evolution_inbox_id=3)
    sender = Sender(world.setup, faults, now=clock, in_flight_max=1)
    runner = web.AppRunner(make_app(world, sender, faults), access_log=None)
    async with receiving(SECRET) as receiver:
        world.setup.add_webhook(receiver.url, secret=SECRET, subscriptions=EVENTS)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made = Fake(world, sender, faults, receiver)
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield made
        await made.client.close()
        await runner.cleanup()


async def test_the_version_needs_no_token(fake: Fake) -> None:
    status, body = await fake.call("GET", "/api", token=None)
    assert (status, body["version"]) == (200, "4.15.1")


async def test_the_profile_names_the_role_in_the_account(fake: Fake) -> None:
    _, body = await fake.call("GET", "/api/v1/profile")
    assert body["accounts"][0] | {"name": ""} == {
        "id": 7,
        "name": "",
        "status": "active",
        "role": "administrator",
        "permissions": ["administrator"],
        "availability": "online",
    }


async def test_inboxes_map_ids_to_channels_and_show_secrets_to_administrators_alone(fake: Fake) -> None:
    _, body = await fake.call("GET", "inboxes")
    assert {row["id"]: row["channel_type"] for row in body["payload"]} == {
        1: "Channel::Whatsapp",
        2: "Channel::Instagram",
        3: "Channel::Api",
    }
    assert all("secret" in row for row in body["payload"])
    _, body = await fake.call("GET", "inboxes/2", token=fake.world.setup.agents[2].access_token)
    assert "secret" not in body


@pytest.mark.parametrize(
    ("token", "account_id", "expected"),
    [
        (None, 7, {"errors": ["You need to sign in or sign up before continuing."]}),
        ("guess", 7, {"error": "Invalid Access Token"}),
        (TOKEN, 8, {"error": "You are not authorized to access this account"}),
    ],
)
async def test_strangers_get_a_401(fake: Fake, token: str | None, account_id: int, expected: Any) -> None:
    assert await fake.call("GET", "conversations", token=token, account_id=account_id) == (401, expected)


async def test_webhooks_are_for_administrators_and_conversations_of_bots_are_few(fake: Fake) -> None:
    agent, bot = fake.world.setup.agents[2], fake.world.setup.add_bot("Ipê")
    fake.written()
    refused = (401, {"error": "You are not authorized to do this action"})
    assert await fake.call("GET", "webhooks", token=agent.access_token) == refused
    assert (await fake.call("GET", "conversations", token=bot.access_token))[0] == 401
    assert (await fake.call("GET", "conversations/1", token=bot.access_token))[0] == 200


async def test_the_underscore_header_works_too(fake: Fake) -> None:
    async with fake.client.get(f"{fake.url}/api/v1/profile", headers={"api_access_token": TOKEN}) as response:
        assert response.status == 200


async def test_a_webhook_is_made_with_a_secret_of_the_servers_own(fake: Fake) -> None:
    wanted = {"url": "https://prosa.example/webhooks/x", "subscriptions": ["message_created"], "secret": "mine"}
    status, body = await fake.call("POST", "webhooks", {"webhook": wanted})
    made = body["payload"]["webhook"]
    assert (status, made["account_id"], made["subscriptions"]) == (200, 7, ["message_created"])
    assert made["secret"] not in ("", "mine")
    refused = {"message": "Url has already been taken", "attributes": ["url"]}
    assert await fake.call("POST", "webhooks", wanted) == (422, refused)
    _, body = await fake.call("PATCH", f"webhooks/{made['id']}", {"subscriptions": ["contact_created"]})
    assert body["payload"]["webhook"] == made | {"subscriptions": ["contact_created"]}
    assert (await fake.call("DELETE", f"webhooks/{made['id']}"))[0] == 200
    _, body = await fake.call("GET", "webhooks")
    assert [row["url"] for row in body["payload"]["webhooks"]] == [fake.receiver.url]


async def test_subscriptions_default_to_the_first_eight(fake: Fake) -> None:
    _, body = await fake.call("POST", "webhooks", {"url": "https://prosa.example/webhooks/y"})
    assert len(body["payload"]["webhook"]["subscriptions"]) == 8
    assert "conversation_typing_on" not in body["payload"]["webhook"]["subscriptions"]


async def test_a_contact_shows_the_instagram_id_in_its_contact_inboxes(fake: Fake) -> None:
    conversation = fake.written("instagram")
    _, body = await fake.call("GET", f"contacts/{conversation.contact.id}")
    places = [(row["source_id"], row["inbox"]["channel_type"]) for row in body["payload"]["contact_inboxes"]]
    assert places == [(ANA.igsid, "Channel::Instagram")]
    assert await fake.call("GET", "contacts/999") == (404, {"error": "Resource could not be found"})


async def test_a_contact_is_found_by_its_source_id_or_there_is_an_empty_404(fake: Fake) -> None:
    fake.written("instagram")
    status, body = await fake.call("POST", "contact_inboxes/filter", {"inbox_id": 2, "source_id": ANA.igsid})
    assert (status, body["name"]) == (200, ANA.name)
    assert await fake.call("POST", "contact_inboxes/filter", {"inbox_id": 1, "source_id": ANA.igsid}) == (404, b"")


async def test_search_matches_a_part_and_counts_only_its_page(fake: Fake) -> None:
    for number in range(17):
        fake.written(person=Person(f"Turma {number}", phone=phone_of(number)))
    _, body = await fake.call("GET", "contacts/search?q=%2B551190000&page=1")
    assert body["meta"] == {"count": 15, "current_page": 1, "has_more": True}
    _, body = await fake.call("GET", "contacts/search?q=turma&page=2")
    assert (len(body["payload"]), body["meta"]["has_more"]) == (2, False)
    assert (await fake.call("GET", "contacts/search?q="))[0] == 422


async def test_an_edited_contact_merges_its_attributes_and_a_taken_number_is_refused(fake: Fake) -> None:
    fake.written()
    other = fake.written(person=Person("Bia", phone=phone_of(77))).contact
    path = f"contacts/{other.id}"
    await fake.call("PUT", path, {"custom_attributes": {"a": 1}})
    _, body = await fake.call("PUT", path, {"name": "Bia T.", "custom_attributes": {"b": 2}})
    assert (body["payload"]["name"], body["payload"]["custom_attributes"]) == ("Bia T.", {"a": 1, "b": 2})
    refused = {"message": "Phone number has already been taken", "attributes": ["phone_number"]}
    assert await fake.call("PUT", path, {"phone_number": ANA.phone}) == (422, refused)
    await fake.sender.drained()
    assert fake.receiver.names().count("contact_updated") == 4


async def test_conversations_are_paged_by_25_and_show_open_ones_unless_asked(fake: Fake) -> None:
    for number in range(27):
        fake.written(person=Person(f"Pessoa {number}", phone=phone_of(number)))
    fake.world.resolve(fake.world.conversations[27])
    _, body = await fake.call("GET", "conversations")
    assert (len(body["data"]["payload"]), body["data"]["meta"]["all_count"]) == (25, 26)
    assert body["data"]["payload"][0]["id"] == 26
    _, body = await fake.call("GET", "conversations?status=all&page=2")
    assert [row["id"] for row in body["data"]["payload"]] == [2, 1]


async def test_conversations_updated_within_come_unpaged(fake: Fake) -> None:
    for number in range(30):
        fake.written(person=Person(f"Pessoa {number}", phone=phone_of(number)))
    _, body = await fake.call("GET", "conversations?status=all&updated_within=3600")
    assert len(body["data"]["payload"]) == 30
    _, body = await fake.call("GET", "conversations?status=all&updated_within=1")
    recent = [row["id"] for row in body["data"]["payload"]]
    assert 0 < len(recent) < 10
    assert recent[0] == 30


async def test_a_rest_conversation_differs_from_a_webhooks(fake: Fake) -> None:
    conversation = fake.written()
    _, body = await fake.call("GET", f"conversations/{conversation.id}")
    assert {"account_id", "uuid", "muted"} <= body.keys()
    assert not {"contact_inbox", "channel"} & body.keys()
    assert (body["meta"]["channel"], body["first_reply_created_at"]) == ("Channel::Whatsapp", 0)


async def test_messages_are_listed_ascending_with_notes_and_activities(fake: Fake) -> None:
    conversation = fake.written()
    for number in range(120):
        fake.world.private_note(conversation, fake.world.setup.agents[2], f"nota {number}")
    path = f"conversations/{conversation.id}/messages"

    async def ids(query: str) -> list[int]:
        return [row["id"] for row in (await fake.call("GET", path + query))[1]["payload"]]

    assert await ids("") == list(range(102, 122))
    assert await ids("?before=102") == list(range(82, 102))
    assert await ids("?after=1") == list(range(2, 102))
    assert await ids("?after=5&before=121") == list(range(5, 121))


async def test_a_posted_message_is_answered_flat_and_comes_back_as_webhooks(fake: Fake) -> None:
    conversation = fake.written()
    await fake.sender.drained()
    fake.receiver.received.clear()
    status, body = await fake.call("POST", f"conversations/{conversation.id}/messages", {"content": "Olá!"})
    assert (status, body["message_type"], body["status"], body["source_id"]) == (200, 1, "sent", None)
    assert isinstance(body["created_at"], int)
    await fake.sender.drained()
    assert fake.receiver.names() == ["message_created", "conversation_updated", *["message_updated"] * 2]
    assert {item.body["id"] for item in fake.receiver.received if "message" in item.body["event"]} == {body["id"]}
    assert fake.receiver.received[-1].body["source_id"].startswith("wamid.")


async def test_a_posted_note_and_a_message_with_a_source_id_reach_no_provider(fake: Fake) -> None:
    conversation = fake.written()
    await fake.sender.drained()
    fake.receiver.received.clear()
    path = f"conversations/{conversation.id}/messages"
    await fake.call("POST", path, {"content": "só nós", "private": True})
    await fake.call("POST", path, {"content": "já foi", "source_id": "wamid.X"})
    await fake.sender.drained()
    assert fake.receiver.names() == ["message_created", "message_created", "conversation_updated"]


async def test_incoming_messages_are_for_api_inboxes_alone(fake: Fake) -> None:
    whatsapp, evolution = fake.written(), fake.written("evolution")
    body = {"content": "Oi", "message_type": "incoming", "source_id": "WAID:1"}
    assert (await fake.call("POST", f"conversations/{whatsapp.id}/messages", body))[0] == 422
    status, answer = await fake.call("POST", f"conversations/{evolution.id}/messages", body)
    assert (status, answer["message_type"], answer["source_id"]) == (200, 0, "WAID:1")


async def test_a_message_status_is_set_in_api_inboxes_and_a_message_is_emptied_anywhere(fake: Fake) -> None:
    whatsapp, evolution = fake.written(), fake.written("evolution")
    first, second = f"conversations/{whatsapp.id}/messages/1", f"conversations/{evolution.id}/messages/2"
    assert (await fake.call("PATCH", first, {"status": "read"}))[0] == 403
    assert (await fake.call("PATCH", second, {"status": "read"}))[1]["status"] == "read"
    assert (await fake.call("DELETE", first))[1]["content_attributes"] == {"deleted": True}
    assert (await fake.call("DELETE", f"conversations/{whatsapp.id}/messages/2"))[0] == 404


async def test_labels_are_replaced_as_a_whole(fake: Fake) -> None:
    path = f"conversations/{fake.written().id}/labels"
    await fake.call("POST", path, {"labels": ["a", "b"]})
    assert await fake.call("POST", path, {"labels": ["c"]}) == (200, {"payload": ["c"]})
    assert await fake.call("GET", path) == (200, {"payload": ["c"]})


async def test_a_status_is_set_or_toggled_and_an_unknown_one_is_a_500(fake: Fake) -> None:
    path = f"conversations/{fake.written().id}/toggle_status"
    _, body = await fake.call("POST", path, {"status": "snoozed", "snoozed_until": 1790000000})
    assert body["payload"] == {
        "success": True,
        "conversation_id": 1,
        "current_status": "snoozed",
        "snoozed_until": 1790000000,
    }
    agent = fake.world.setup.agents[2]
    _, body = await fake.call("POST", path, token=agent.access_token)
    assert body["payload"]["current_status"] == "open"
    assert fake.world.conversations[1].assignee is agent
    assert (await fake.call("POST", path, {"status": "closed"}))[0] == 500


async def test_assignments_answer_the_agent_the_team_or_null(fake: Fake) -> None:
    path = f"conversations/{fake.written().id}/assignments"
    assert (await fake.call("POST", path, {"assignee_id": 2}))[1]["email"] == "larissa@escola-ipe.example"
    assert (await fake.call("POST", path, {"team_id": 1}))[1] == {"id": 1, "name": "matrículas"}
    assert await fake.call("POST", path, {"assignee_id": None}) == (200, None)
    assert (await fake.call("POST", path, {"assignee_id": 99}))[0] == 404


async def test_bad_json_and_unknown_paths_are_not_our_crash(fake: Fake) -> None:
    fake.written()
    url, headers = f"{fake.url}/api/v1/accounts/7/conversations/1/labels", {"Api-Access-Token": TOKEN}
    for raw in (b"{", b"[1]", b"\xff"):
        async with fake.client.post(url, data=raw, headers=headers) as response:
            assert response.status == 400
    assert (await fake.call("GET", "nothing/here"))[0] == 404
    assert (await fake.call("GET", "conversations/abc"))[0] == 404


async def test_the_rate_limit_is_plain_text(fake: Fake) -> None:
    fake.faults.set(Fault("rest.rate_limit", count=1))
    async with fake.client.get(f"{fake.url}/api") as response:
        assert (response.status, response.headers["Content-Type"]) == (429, "text/plain")
        assert (await response.text()).strip() == "Retry later"
        assert "Retry-After" not in response.headers
    assert (await fake.call("GET", "/api"))[0] == 200


async def test_an_error_does_nothing_and_a_lost_answer_does_it_all_the_same(fake: Fake) -> None:
    path = f"conversations/{fake.written().id}/labels"
    fake.faults.set(Fault("rest.error", count=1, status=502, only="/labels"))
    assert (await fake.call("POST", path, {"labels": ["x"]}))[0] == 502
    assert fake.world.conversations[1].labels == []
    fake.faults.set(Fault("rest.lost_answer", count=1))
    with pytest.raises((aiohttp.ClientError, ConnectionResetError)):
        await fake.call("POST", path, {"labels": ["x"]})
    assert fake.world.conversations[1].labels == ["x"]


async def test_a_reset_connection_does_nothing(fake: Fake) -> None:
    path = f"conversations/{fake.written().id}/labels"
    fake.faults.set(Fault("rest.reset", count=1))
    with pytest.raises((aiohttp.ClientError, ConnectionResetError)):
        await fake.call("POST", path, {"labels": ["x"]})
    assert fake.world.conversations[1].labels == []


async def test_a_slow_answer_comes_and_a_timeout_does_not(fake: Fake) -> None:
    fake.faults.set(Fault("rest.slow", count=1, seconds=0.02))
    assert (await fake.call("GET", "/api"))[0] == 200
    fake.faults.set(Fault("rest.timeout", count=1, seconds=30))
    with pytest.raises(TimeoutError):
        async with fake.client.get(f"{fake.url}/api", timeout=aiohttp.ClientTimeout(total=0.05)):
            pass
