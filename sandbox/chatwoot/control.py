"""The handles beside Chatwoot's own API: play a customer or an agent by curl, switch faults, read counters.

For loopback only: there is no token. A request with an Origin is refused, so no web page can use them.
"""

import asyncio
from dataclasses import asdict
from typing import Any

import orjson
from aiohttp import web

from sandbox.chatwoot.access import CONTROL_PREFIX, FAULTS, WORLD, AnswerError, Handler, unprocessable
from sandbox.chatwoot.faults import KINDS, Fault
from sandbox.chatwoot.forms import body_of, contact_changes, number_of, optional_text_of, text_of, texts_of
from sandbox.chatwoot.payloads import compact_json
from sandbox.chatwoot.people import Person
from sandbox.chatwoot.records import EVENTS, Agent, Conversation, Event, Inbox, Message
from sandbox.chatwoot.sender import Sender
from sandbox.chatwoot.traffic import CONVERSATION_COUNT, DURATION_SECONDS, Traffic, play
from sandbox.chatwoot.world import World

SENDER: web.AppKey[Sender] = web.AppKey("sender", Sender)
BACKGROUND: web.AppKey["set[asyncio.Task[int]]"] = web.AppKey("background", set)
TRAFFIC_CONVERSATION_MAX = 5000
TRAFFIC_SECONDS_MAX = 3600.0

_HELP = {
    "POST /_sandbox/incoming": {"inbox": "whatsapp | instagram | evolution | id", "name": "…", "text": "…"},
    "POST /_sandbox/reply": {"conversation_id": 1, "text": "…"},
    "POST /_sandbox/echo": {"conversation_id": 1, "text": "…"},
    "POST /_sandbox/note": {"conversation_id": 1, "text": "…"},
    "POST /_sandbox/label": {"conversation_id": 1, "label": "…"},
    "POST /_sandbox/resolve": {"conversation_id": 1},
    "POST /_sandbox/typing": {"conversation_id": 1},
    "POST /_sandbox/delete": {"message_id": 1},
    "POST /_sandbox/status": {"message_id": 1, "status": "delivered | read | failed"},
    "POST /_sandbox/contact": {"contact_id": 1, "name": "…", "email": "…", "phone_number": "…"},
    "POST /_sandbox/send": {"payload": {"event": "…"}, "or raw": "any text"},
    "POST /_sandbox/webhooks": {"url": "…", "secret": "…"},
    "POST /_sandbox/traffic": {"seed": 1, "seconds": DURATION_SECONDS, "conversations": CONVERSATION_COUNT},
    "GET, POST, DELETE /_sandbox/faults": {"kind": " | ".join(KINDS), "count": 1, "share": 1.0, "seconds": 0},
    "GET /_sandbox/counts": None,
}


def _guarded(handler: Handler) -> Handler:
    async def guarded(request: web.Request) -> web.StreamResponse:
        if "Origin" in request.headers:
            raise AnswerError(403, {"error": "The control calls are not for web pages"})
        return await handler(request)

    return guarded


async def show_help(request: web.Request) -> web.Response:
    """What can be done, and what there is to do it with."""
    world = request.app[WORLD]
    inboxes = [{"id": row.id, "name": row.name, "channel": row.channel} for row in world.setup.inboxes.values()]
    body = {
        "account_id": world.account.id,
        "inboxes": inboxes,
        "conversations": len(world.conversations),
        "calls": _HELP,
    }
    return web.json_response(body)


async def incoming(request: web.Request) -> web.Response:
    """A customer writes. Without phone or igsid the name alone decides, so the same name is the same person."""
    world, body = request.app[WORLD], await body_of(request)
    inbox = _inbox(world, body.get("inbox", "whatsapp"))
    usual = Person.named(text_of(body, "name", "Cliente Demo"))
    person = Person(
        name=usual.name,
        phone=optional_text_of(body, "phone") if "phone" in body else usual.phone,
        igsid=optional_text_of(body, "igsid") if "igsid" in body else usual.igsid,
        username=optional_text_of(body, "username") if "username" in body else usual.username,
        bsuid=optional_text_of(body, "bsuid"),
        identifier=optional_text_of(body, "identifier"),
    )
    files = (
        [world.attachment(text_of(body, "file_type", "image"), text_of(body, "data_url"))] if "data_url" in body else []
    )
    message = world.incoming_message(inbox, person, optional_text_of(body, "text"), attachments=files)
    return _message_answer(message)


async def reply(request: web.Request) -> web.Response:
    """An agent answers; the provider accepts and delivers."""
    world, body = request.app[WORLD], await body_of(request)
    message = world.agent_reply(_conversation(world, body), _agent(world), text_of(body, "text"))
    world.provider_accepts(message)
    world.status_update(message, "delivered")
    return _message_answer(message)


async def echo(request: web.Request) -> web.Response:
    """The business answers on its own phone."""
    world, body = request.app[WORLD], await body_of(request)
    return _message_answer(world.native_app_echo(_conversation(world, body), text_of(body, "text")))


async def note(request: web.Request) -> web.Response:
    """A private note."""
    world, body = request.app[WORLD], await body_of(request)
    return _message_answer(world.private_note(_conversation(world, body), _agent(world), text_of(body, "text")))


async def label(request: web.Request) -> web.Response:
    """One more label."""
    world, body = request.app[WORLD], await body_of(request)
    conversation = _conversation(world, body)
    world.add_label(conversation, text_of(body, "label"))
    return web.json_response({"conversation_id": conversation.id, "labels": conversation.labels})


async def resolve(request: web.Request) -> web.Response:
    """The conversation is over."""
    world, body = request.app[WORLD], await body_of(request)
    conversation = _conversation(world, body)
    world.resolve(conversation)
    return web.json_response({"conversation_id": conversation.id, "status": conversation.status})


async def typing(request: web.Request) -> web.Response:
    """An agent types, or with `"on": false` stops."""
    world, body = request.app[WORLD], await body_of(request)
    conversation = _conversation(world, body)
    world.typing(conversation, _agent(world), on=bool(body.get("on", True)))
    return web.json_response({"conversation_id": conversation.id})


async def delete(request: web.Request) -> web.Response:
    """A message is deleted or unsent."""
    world, body = request.app[WORLD], await body_of(request)
    message = _message(world, body)
    world.delete_message(message)
    return _message_answer(message)


async def status(request: web.Request) -> web.Response:
    """The provider reports on a message."""
    world, body = request.app[WORLD], await body_of(request)
    message = _message(world, body)
    if body.get("status") not in ("sent", "delivered", "read", "failed"):
        unprocessable("status is sent, delivered, read or failed")
    world.status_update(message, body["status"], error=optional_text_of(body, "error"))
    return _message_answer(message)


async def contact(request: web.Request) -> web.Response:
    """Somebody edits a contact."""
    world, body = request.app[WORLD], await body_of(request)
    row = world.book.contacts.get(number_of(body, "contact_id") or 0)
    if row is None:
        unprocessable("There is no contact with this contact_id")
    world.edit_contact(row, **contact_changes(body))
    return web.json_response({"contact_id": row.id})


async def send(request: web.Request) -> web.Response:
    """Signs and sends a payload, or `raw` text that need not be JSON, to every webhook, whatever it subscribed."""
    body = await body_of(request)
    payload, raw_text = body.get("payload"), body.get("raw")
    if isinstance(payload, dict):
        name, raw = str(payload.get("event", "")), compact_json(payload)
    elif isinstance(raw_text, str):
        name, raw = "", raw_text.encode("utf-8", "surrogatepass")
    else:
        unprocessable("Give a payload (an object) or raw (a text)")
    count = request.app[SENDER].offer_to_all(Event(name, "raw", lambda: raw))
    return web.json_response({"webhooks": count})


async def webhooks(request: web.Request) -> web.Response:
    """Registers a webhook with a secret of the caller's choice, and every event there is."""
    world, body = request.app[WORLD], await body_of(request)
    row = world.setup.add_webhook(
        text_of(body, "url"),
        secret=optional_text_of(body, "secret"),
        subscriptions=texts_of(body, "subscriptions") or EVENTS,
    )
    return web.json_response({"id": row.id, "secret": row.secret})


async def traffic(request: web.Request) -> web.Response:
    """Starts the demo's conversations in the background."""
    world, body = request.app[WORLD], await body_of(request)
    try:
        count, seconds = (
            int(body.get("conversations", CONVERSATION_COUNT)),
            float(body.get("seconds", DURATION_SECONDS)),
        )
        seed = int(body.get("seed", 1))
    except (TypeError, ValueError):
        unprocessable("seed, conversations and seconds are numbers")
    if not 1 <= count <= TRAFFIC_CONVERSATION_MAX or not 0 <= seconds <= TRAFFIC_SECONDS_MAX:
        unprocessable(f"At most {TRAFFIC_CONVERSATION_MAX} conversations in {TRAFFIC_SECONDS_MAX:.0f} seconds")
    steps = Traffic(seed, conversation_count=count, duration_seconds=seconds).steps()
    task = asyncio.create_task(play(world, steps))
    request.app[BACKGROUND].add(task)
    task.add_done_callback(request.app[BACKGROUND].discard)
    return web.json_response({"steps": len(steps)})


async def show_faults(request: web.Request) -> web.Response:
    """What is switched on, and how often each kind has struck."""
    faults = request.app[FAULTS]
    return web.json_response({"active": [asdict(fault) for fault in faults.active()], "struck": dict(faults.struck)})


async def set_fault(request: web.Request) -> web.Response:
    """Switches one more fault on."""
    body = await body_of(request)
    try:
        request.app[FAULTS].set(Fault(**body))
    except (TypeError, ValueError) as wrong:
        unprocessable(str(wrong))
    return await show_faults(request)


async def clear_faults(request: web.Request) -> web.Response:
    """Switches off all faults, or with `?kind=` those of one kind."""
    request.app[FAULTS].clear(request.query.get("kind"))
    return await show_faults(request)


async def show_counts(request: web.Request) -> web.Response:
    """What was sent and what came back."""
    world = request.app[WORLD]
    sizes = {
        "contacts": len(world.book.contacts),
        "conversations": len(world.conversations),
        "messages": len(world.messages),
    }
    return web.json_response(request.app[SENDER].summary() | {"world": sizes})


async def show_health(request: web.Request) -> web.Response:
    """Ready as soon as it answers."""
    return web.json_response({"status": "ok"})


def add_routes(app: web.Application) -> None:
    """Everything under /_sandbox."""
    gets: dict[str, Handler] = {
        "": show_help,
        "/health": show_health,
        "/faults": show_faults,
        "/counts": show_counts,
    }
    posts: dict[str, Handler] = {
        "/incoming": incoming,
        "/reply": reply,
        "/echo": echo,
        "/note": note,
        "/label": label,
        "/resolve": resolve,
        "/typing": typing,
        "/delete": delete,
        "/status": status,
        "/contact": contact,
        "/send": send,
        "/webhooks": webhooks,
        "/traffic": traffic,
        "/faults": set_fault,
    }
    for path, handler in gets.items():
        app.router.add_get(CONTROL_PREFIX + path, _guarded(handler))
    for path, handler in posts.items():
        app.router.add_post(CONTROL_PREFIX + path, _guarded(handler))
    app.router.add_delete(CONTROL_PREFIX + "/faults", _guarded(clear_faults))


def _inbox(world: World, wanted: Any) -> Inbox:
    found = world.setup.inbox(wanted) if isinstance(wanted, int | str) else None
    return found or unprocessable("There is no such inbox")


def _conversation(world: World, body: dict[str, Any]) -> Conversation:
    found = world.conversations.get(number_of(body, "conversation_id") or 0)
    return found or unprocessable("There is no conversation with this conversation_id")


def _message(world: World, body: dict[str, Any]) -> Message:
    return world.messages.get(number_of(body, "message_id") or 0) or unprocessable(
        "There is no message with this message_id"
    )


def _agent(world: World) -> Agent:
    agents = list(world.setup.agents.values())
    return agents[-1] if agents else unprocessable("The account has no agent")


def _message_answer(message: Message) -> web.Response:
    conversation = message.conversation
    body = {
        "message_id": message.id,
        "conversation_id": conversation.id,
        "contact_id": conversation.contact.id,
        "inbox_id": conversation.inbox.id,
        "source_id": conversation.contact_inbox.source_id,
        "phone_number": conversation.contact.phone_number,
    }
    return web.json_response(body, dumps=lambda value: orjson.dumps(value).decode())
