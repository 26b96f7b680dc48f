"""The REST answers and refusals of the stand-in, over real HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sandbox.chatwoot.app import furnish, make_app
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


class StandIn:
    """A running stand-in, a client signed in as its administrator, and a receiver of its webhooks."""

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
        row = self.world.directory.inbox(inbox)
        assert row is not None
        return self.world.incoming_message(row, person, text).conversation


@pytest.fixture
async def stand_in() -> AsyncIterator[StandIn]:
    clock, faults = TickingClock(), Faults()
    world = World(clock, seed=4, account_id=7)
    furnish(world, access_token=TOKEN, evolution_inbox_id=3)
    sender = Sender(world.directory, faults, now=clock, in_flight_max=1)
    runner = web.AppRunner(make_app(world, sender, faults), access_log=None)
    async with receiving(SECRET) as receiver:
        world.directory.add_webhook(receiver.url, secret=SECRET, subscriptions=EVENTS)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made = StandIn(world, sender, faults, receiver)
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield made
        await made.client.close()
        await runner.cleanup()


async def test_the_version_needs_no_token(stand_in: StandIn) -> None:
    status, body = await stand_in.call("GET", "/api", token=None)
    assert (status, body["version"]) == (200, "4.15.1")


async def test_the_profile_names_the_role_in_the_account(stand_in: StandIn) -> None:
    _, body = await stand_in.call("GET", "/api/v1/profile")
    assert body["accounts"][0] | {"name": ""} == {
        "id": 7,
        "name": "",
        "status": "active",
        "role": "administrator",
        "permissions": ["administrator"],
        "availability": "online",
    }


async def test_inboxes_map_ids_to_channels_and_show_secrets_to_administrators_alone(stand_in: StandIn) -> None:
    _, body = await stand_in.call("GET", "inboxes")
    assert {row["id"]: row["channel_type"] for row in body["payload"]} == {
        1: "Channel::Whatsapp",
        2: "Channel::Instagram",
        3: "Channel::Api",
    }
    assert all("secret" in row for row in body["payload"])
    _, body = await stand_in.call("GET", "inboxes/2", token=stand_in.world.directory.agents[2].access_token)
    assert "secret" not in body


@pytest.mark.parametrize(
    ("token", "account_id", "expected"),
    [
        (None, 7, {"errors": ["You need to sign in or sign up before continuing."]}),
        ("guess", 7, {"error": "Invalid Access Token"}),
        (TOKEN, 8, {"error": "You are not authorized to access this account"}),
    ],
)
async def test_strangers_get_a_401(stand_in: StandIn, token: str | None, account_id: int, expected: Any) -> None:
    assert await stand_in.call("GET", "conversations", token=token, account_id=account_id) == (401, expected)


async def test_webhooks_are_for_administrators_and_conversations_of_bots_are_few(stand_in: StandIn) -> None:
    agent, bot = stand_in.world.directory.agents[2], stand_in.world.directory.add_bot("Ipê")
    stand_in.written()
    refused = (401, {"error": "You are not authorized to do this action"})
    assert await stand_in.call("GET", "webhooks", token=agent.access_token) == refused
    assert (await stand_in.call("GET", "conversations", token=bot.access_token))[0] == 401
    assert (await stand_in.call("GET", "conversations/1", token=bot.access_token))[0] == 200


async def test_the_underscore_header_works_too(stand_in: StandIn) -> None:
    async with stand_in.client.get(f"{stand_in.url}/api/v1/profile", headers={"api_access_token": TOKEN}) as response:
        assert response.status == 200


async def test_a_webhook_is_made_with_a_secret_of_the_servers_own(stand_in: StandIn) -> None:
    wanted = {"url": "https://prosa.example/webhooks/x", "subscriptions": ["message_created"], "secret": "mine"}
    status, body = await stand_in.call("POST", "webhooks", {"webhook": wanted})
    made = body["payload"]["webhook"]
    assert (status, made["account_id"], made["subscriptions"]) == (200, 7, ["message_created"])
    assert made["secret"] not in ("", "mine")
    refused = {"message": "Url has already been taken", "attributes": ["url"]}
    assert await stand_in.call("POST", "webhooks", wanted) == (422, refused)
    _, body = await stand_in.call("PATCH", f"webhooks/{made['id']}", {"subscriptions": ["contact_created"]})
    assert body["payload"]["webhook"] == made | {"subscriptions": ["contact_created"]}
    assert (await stand_in.call("DELETE", f"webhooks/{made['id']}"))[0] == 200
    _, body = await stand_in.call("GET", "webhooks")
    assert [row["url"] for row in body["payload"]["webhooks"]] == [stand_in.receiver.url]


async def test_subscriptions_default_to_the_first_eight(stand_in: StandIn) -> None:
    _, body = await stand_in.call("POST", "webhooks", {"url": "https://prosa.example/webhooks/y"})
    assert len(body["payload"]["webhook"]["subscriptions"]) == 8
    assert "conversation_typing_on" not in body["payload"]["webhook"]["subscriptions"]


async def test_a_contact_shows_the_instagram_id_in_its_contact_inboxes(stand_in: StandIn) -> None:
    conversation = stand_in.written("instagram")
    _, body = await stand_in.call("GET", f"contacts/{conversation.contact.id}")
    places = [(row["source_id"], row["inbox"]["channel_type"]) for row in body["payload"]["contact_inboxes"]]
    assert places == [(ANA.igsid, "Channel::Instagram")]
    assert await stand_in.call("GET", "contacts/999") == (404, {"error": "Resource could not be found"})


async def test_a_contact_is_found_by_its_source_id_or_there_is_an_empty_404(stand_in: StandIn) -> None:
    stand_in.written("instagram")
    status, body = await stand_in.call("POST", "contact_inboxes/filter", {"inbox_id": 2, "source_id": ANA.igsid})
    assert (status, body["name"]) == (200, ANA.name)
    assert await stand_in.call("POST", "contact_inboxes/filter", {"inbox_id": 1, "source_id": ANA.igsid}) == (404, b"")


async def test_search_matches_a_part_and_counts_only_its_page(stand_in: StandIn) -> None:
    for number in range(17):
        stand_in.written(person=Person(f"Turma {number}", phone=phone_of(number)))
    _, body = await stand_in.call("GET", "contacts/search?q=%2B551190000&page=1")
    assert body["meta"] == {"count": 15, "current_page": 1, "has_more": True}
    _, body = await stand_in.call("GET", "contacts/search?q=turma&page=2")
    assert (len(body["payload"]), body["meta"]["has_more"]) == (2, False)
    assert (await stand_in.call("GET", "contacts/search?q="))[0] == 422


async def test_an_edited_contact_merges_its_attributes_and_a_taken_number_is_refused(stand_in: StandIn) -> None:
    stand_in.written()
    other = stand_in.written(person=Person("Bia", phone=phone_of(77))).contact
    path = f"contacts/{other.id}"
    await stand_in.call("PUT", path, {"custom_attributes": {"a": 1}})
    _, body = await stand_in.call("PUT", path, {"name": "Bia T.", "custom_attributes": {"b": 2}})
    assert (body["payload"]["name"], body["payload"]["custom_attributes"]) == ("Bia T.", {"a": 1, "b": 2})
    refused = {"message": "Phone number has already been taken", "attributes": ["phone_number"]}
    assert await stand_in.call("PUT", path, {"phone_number": ANA.phone}) == (422, refused)
    await stand_in.sender.drained()
    assert stand_in.receiver.names().count("contact_updated") == 4


async def test_conversations_are_paged_by_25_and_show_open_ones_unless_asked(stand_in: StandIn) -> None:
    for number in range(27):
        stand_in.written(person=Person(f"Pessoa {number}", phone=phone_of(number)))
    stand_in.world.resolve(stand_in.world.conversations[27])
    _, body = await stand_in.call("GET", "conversations")
    assert (len(body["data"]["payload"]), body["data"]["meta"]["all_count"]) == (25, 26)
    assert body["data"]["payload"][0]["id"] == 26
    _, body = await stand_in.call("GET", "conversations?status=all&page=2")
    assert [row["id"] for row in body["data"]["payload"]] == [2, 1]


async def test_conversations_updated_within_come_unpaged(stand_in: StandIn) -> None:
    for number in range(30):
        stand_in.written(person=Person(f"Pessoa {number}", phone=phone_of(number)))
    _, body = await stand_in.call("GET", "conversations?status=all&updated_within=3600")
    assert len(body["data"]["payload"]) == 30
    _, body = await stand_in.call("GET", "conversations?status=all&updated_within=1")
    recent = [row["id"] for row in body["data"]["payload"]]
    assert 0 < len(recent) < 10
    assert recent[0] == 30


async def test_a_rest_conversation_differs_from_a_webhooks(stand_in: StandIn) -> None:
    conversation = stand_in.written()
    _, body = await stand_in.call("GET", f"conversations/{conversation.id}")
    assert {"account_id", "uuid", "muted"} <= body.keys()
    assert not {"contact_inbox", "channel"} & body.keys()
    assert (body["meta"]["channel"], body["first_reply_created_at"]) == ("Channel::Whatsapp", 0)


async def test_messages_are_listed_ascending_with_notes_and_activities(stand_in: StandIn) -> None:
    conversation = stand_in.written()
    for number in range(120):
        stand_in.world.private_note(conversation, stand_in.world.directory.agents[2], f"nota {number}")
    path = f"conversations/{conversation.id}/messages"

    async def ids(query: str) -> list[int]:
        return [row["id"] for row in (await stand_in.call("GET", path + query))[1]["payload"]]

    assert await ids("") == list(range(102, 122))
    assert await ids("?before=102") == list(range(82, 102))
    assert await ids("?after=1") == list(range(2, 102))
    assert await ids("?after=5&before=121") == list(range(5, 121))


async def test_a_posted_message_is_answered_flat_and_comes_back_as_webhooks(stand_in: StandIn) -> None:
    conversation = stand_in.written()
    await stand_in.sender.drained()
    stand_in.receiver.received.clear()
    status, body = await stand_in.call("POST", f"conversations/{conversation.id}/messages", {"content": "Olá!"})
    assert (status, body["message_type"], body["status"], body["source_id"]) == (200, 1, "sent", None)
    assert isinstance(body["created_at"], int)
    await stand_in.sender.drained()
    assert stand_in.receiver.names() == ["message_created", "conversation_updated", *["message_updated"] * 2]
    assert {item.body["id"] for item in stand_in.receiver.received if "message" in item.body["event"]} == {body["id"]}
    assert stand_in.receiver.received[-1].body["source_id"].startswith("wamid.")


async def test_a_posted_note_and_a_message_with_a_source_id_reach_no_provider(stand_in: StandIn) -> None:
    conversation = stand_in.written()
    await stand_in.sender.drained()
    stand_in.receiver.received.clear()
    path = f"conversations/{conversation.id}/messages"
    await stand_in.call("POST", path, {"content": "só nós", "private": True})
    await stand_in.call("POST", path, {"content": "já foi", "source_id": "wamid.X"})
    await stand_in.sender.drained()
    assert stand_in.receiver.names() == ["message_created", "message_created", "conversation_updated"]


async def test_incoming_messages_are_for_api_inboxes_alone(stand_in: StandIn) -> None:
    whatsapp, evolution = stand_in.written(), stand_in.written("evolution")
    body = {"content": "Oi", "message_type": "incoming", "source_id": "WAID:1"}
    assert (await stand_in.call("POST", f"conversations/{whatsapp.id}/messages", body))[0] == 422
    status, answer = await stand_in.call("POST", f"conversations/{evolution.id}/messages", body)
    assert (status, answer["message_type"], answer["source_id"]) == (200, 0, "WAID:1")


async def test_a_message_status_is_set_in_api_inboxes_and_a_message_is_emptied_anywhere(stand_in: StandIn) -> None:
    whatsapp, evolution = stand_in.written(), stand_in.written("evolution")
    first, second = f"conversations/{whatsapp.id}/messages/1", f"conversations/{evolution.id}/messages/2"
    assert (await stand_in.call("PATCH", first, {"status": "read"}))[0] == 403
    assert (await stand_in.call("PATCH", second, {"status": "read"}))[1]["status"] == "read"
    assert (await stand_in.call("DELETE", first))[1]["content_attributes"] == {"deleted": True}
    assert (await stand_in.call("DELETE", f"conversations/{whatsapp.id}/messages/2"))[0] == 404


async def test_labels_are_replaced_as_a_whole(stand_in: StandIn) -> None:
    path = f"conversations/{stand_in.written().id}/labels"
    await stand_in.call("POST", path, {"labels": ["a", "b"]})
    assert await stand_in.call("POST", path, {"labels": ["c"]}) == (200, {"payload": ["c"]})
    assert await stand_in.call("GET", path) == (200, {"payload": ["c"]})


async def test_a_status_is_set_or_toggled_and_an_unknown_one_is_a_500(stand_in: StandIn) -> None:
    path = f"conversations/{stand_in.written().id}/toggle_status"
    _, body = await stand_in.call("POST", path, {"status": "snoozed", "snoozed_until": 1790000000})
    assert body["payload"] == {
        "success": True,
        "conversation_id": 1,
        "current_status": "snoozed",
        "snoozed_until": 1790000000,
    }
    agent = stand_in.world.directory.agents[2]
    _, body = await stand_in.call("POST", path, token=agent.access_token)
    assert body["payload"]["current_status"] == "open"
    assert stand_in.world.conversations[1].assignee is agent
    assert (await stand_in.call("POST", path, {"status": "closed"}))[0] == 500


async def test_assignments_answer_the_agent_the_team_or_null(stand_in: StandIn) -> None:
    path = f"conversations/{stand_in.written().id}/assignments"
    assert (await stand_in.call("POST", path, {"assignee_id": 2}))[1]["email"] == "larissa@escola-ipe.example"
    assert (await stand_in.call("POST", path, {"team_id": 1}))[1] == {"id": 1, "name": "matrículas"}
    assert await stand_in.call("POST", path, {"assignee_id": None}) == (200, None)
    assert (await stand_in.call("POST", path, {"assignee_id": 99}))[0] == 404


async def test_bad_json_and_unknown_paths_are_not_our_crash(stand_in: StandIn) -> None:
    stand_in.written()
    url, headers = f"{stand_in.url}/api/v1/accounts/7/conversations/1/labels", {"Api-Access-Token": TOKEN}
    for raw in (b"{", b"[1]", b"\xff"):
        async with stand_in.client.post(url, data=raw, headers=headers) as response:
            assert response.status == 400
    assert (await stand_in.call("GET", "nothing/here"))[0] == 404
    assert (await stand_in.call("GET", "conversations/abc"))[0] == 404


async def test_the_rate_limit_is_plain_text(stand_in: StandIn) -> None:
    stand_in.faults.set(Fault("rest.rate_limit", count=1))
    async with stand_in.client.get(f"{stand_in.url}/api") as response:
        assert (response.status, response.headers["Content-Type"]) == (429, "text/plain")
        assert (await response.text()).strip() == "Retry later"
        assert "Retry-After" not in response.headers
    assert (await stand_in.call("GET", "/api"))[0] == 200


async def test_an_error_does_nothing_and_a_lost_answer_does_it_all_the_same(stand_in: StandIn) -> None:
    path = f"conversations/{stand_in.written().id}/labels"
    stand_in.faults.set(Fault("rest.error", count=1, status=502, only="/labels"))
    assert (await stand_in.call("POST", path, {"labels": ["x"]}))[0] == 502
    assert stand_in.world.conversations[1].labels == []
    stand_in.faults.set(Fault("rest.lost_answer", count=1))
    with pytest.raises((aiohttp.ClientError, ConnectionResetError)):
        await stand_in.call("POST", path, {"labels": ["x"]})
    assert stand_in.world.conversations[1].labels == ["x"]


async def test_a_reset_connection_does_nothing(stand_in: StandIn) -> None:
    path = f"conversations/{stand_in.written().id}/labels"
    stand_in.faults.set(Fault("rest.reset", count=1))
    with pytest.raises((aiohttp.ClientError, ConnectionResetError)):
        await stand_in.call("POST", path, {"labels": ["x"]})
    assert stand_in.world.conversations[1].labels == []


async def test_a_slow_answer_comes_and_a_timeout_does_not(stand_in: StandIn) -> None:
    stand_in.faults.set(Fault("rest.slow", count=1, seconds=0.02))
    assert (await stand_in.call("GET", "/api"))[0] == 200
    stand_in.faults.set(Fault("rest.timeout", count=1, seconds=30))
    with pytest.raises(TimeoutError):
        async with stand_in.client.get(f"{stand_in.url}/api", timeout=aiohttp.ClientTimeout(total=0.05)):
            pass
