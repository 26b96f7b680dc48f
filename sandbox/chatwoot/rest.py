"""REST for the account itself (profile, inboxes, webhooks, contacts), and the table of all routes."""

from typing import Any

from aiohttp import web

from sandbox.chatwoot import rest_conversations as conversations
from sandbox.chatwoot import rest_shapes as shapes
from sandbox.chatwoot.access import (
    CALLER,
    WORLD,
    AnswerError,
    for_users,
    for_users_and_bots,
    not_found,
    unprocessable,
)
from sandbox.chatwoot.forms import (
    body_of,
    contact_changes,
    number_in,
    number_of,
    optional_text_of,
    query_number,
    text_of,
    texts_of,
)
from sandbox.chatwoot.records import DEFAULT_SUBSCRIPTIONS, Agent, Contact, Webhook
from sandbox.chatwoot.world import World

CONTACT_PAGE = 15
CONTACT_CONVERSATIONS = 20


async def show_version(request: web.Request) -> web.Response:
    """The one call without a token: which release this is."""
    stamp = request.app[WORLD].now().strftime("%Y-%m-%d %H:%M:%S")
    body = {"version": shapes.VERSION, "timestamp": stamp, "queue_services": "ok", "data_services": "ok"}
    return web.json_response(body)


async def show_profile(request: web.Request) -> web.Response:
    """Who the token is."""
    principal = request[CALLER].principal
    assert isinstance(principal, Agent), "bots are turned away before"
    return web.json_response(shapes.profile(principal, request.app[WORLD].account))


async def list_inboxes(request: web.Request) -> web.Response:
    """Every inbox; message events name only id and name, so this is the map from inbox to channel."""
    world = request.app[WORLD]
    return web.json_response(
        {"payload": [shapes.inbox(row, administrator=_administrator(request)) for row in world.setup.inboxes.values()]}
    )


async def show_inbox(request: web.Request) -> web.Response:
    """One inbox."""
    row = request.app[WORLD].setup.inboxes.get(number_in(request, "inbox_id")) or not_found()
    return web.json_response(shapes.inbox(row, administrator=_administrator(request)))


def _administrator(request: web.Request) -> bool:
    principal = request[CALLER].principal
    return isinstance(principal, Agent) and principal.role == "administrator"


async def list_webhooks(request: web.Request) -> web.Response:
    """Every webhook with its secret."""
    world = request.app[WORLD]
    rows = [shapes.webhook(row, world.account) for row in world.setup.webhooks.values()]
    return web.json_response({"payload": {"webhooks": rows}})


async def create_webhook(request: web.Request) -> web.Response:
    """A new webhook. The secret is drawn and answered; one that is supplied is ignored."""
    world, fields = request.app[WORLD], await _webhook_fields(request)
    row = world.setup.add_webhook(
        text_of(fields, "url"),
        subscriptions=texts_of(fields, "subscriptions") or DEFAULT_SUBSCRIPTIONS,
        name=optional_text_of(fields, "name"),
        inbox_id=number_of(fields, "inbox_id"),
    )
    return web.json_response({"payload": {"webhook": shapes.webhook(row, world.account)}})


async def change_webhook(request: web.Request) -> web.Response:
    """Changes what is given."""
    world, row, fields = request.app[WORLD], _webhook(request), await _webhook_fields(request)
    world.setup.change_webhook(
        row,
        url=optional_text_of(fields, "url"),
        subscriptions=texts_of(fields, "subscriptions"),
        name=optional_text_of(fields, "name"),
    )
    return web.json_response({"payload": {"webhook": shapes.webhook(row, world.account)}})


async def delete_webhook(request: web.Request) -> web.Response:
    """Gone, with its secret."""
    del request.app[WORLD].setup.webhooks[_webhook(request).id]
    return web.Response()


async def _webhook_fields(request: web.Request) -> dict[str, Any]:
    body = await body_of(request)
    nested = body.get("webhook")
    return nested if isinstance(nested, dict) else body


def _webhook(request: web.Request) -> Webhook:
    return request.app[WORLD].setup.webhooks.get(number_in(request, "webhook_id")) or not_found()


def _contact(request: web.Request) -> Contact:
    return request.app[WORLD].book.contacts.get(number_in(request, "contact_id")) or not_found()


def _contact_answer(world: World, row: Contact) -> dict[str, Any]:
    return shapes.contact(row, world.book.rows_of(row))


async def show_contact(request: web.Request) -> web.Response:
    """A contact with its addresses: the only way from a contact event to an IGSID."""
    return web.json_response({"payload": _contact_answer(request.app[WORLD], _contact(request))})


async def change_contact(request: web.Request) -> web.Response:
    """Changes what is given; the attribute objects are merged."""
    world, row, body = request.app[WORLD], _contact(request), await body_of(request)
    changes = contact_changes(body)
    for name in ("additional_attributes", "custom_attributes"):
        if name in changes:
            changes[name] = getattr(row, name) | changes[name]
    world.edit_contact(row, **changes)
    return web.json_response({"payload": _contact_answer(world, row)})


async def search_contacts(request: web.Request) -> web.Response:
    """A part of name, e-mail, phone or identifier; `meta.count` is the size of this page."""
    world, wanted = request.app[WORLD], request.query.get("q", "").strip().lower()
    if not wanted:
        unprocessable("Specify search string with parameter q")
    found = [row for row in world.book.contacts.values() if _matches(row, wanted)]
    page = max(1, query_number(request, "page") or 1)
    shown = found[(page - 1) * CONTACT_PAGE : page * CONTACT_PAGE]
    meta = {"count": len(shown), "current_page": page, "has_more": len(found) > page * CONTACT_PAGE}
    return web.json_response({"meta": meta, "payload": [_contact_answer(world, row) for row in shown]})


def _matches(row: Contact, wanted: str) -> bool:
    return any(wanted in (text or "").lower() for text in (row.name, row.email, row.phone_number, row.identifier))


async def find_by_source(request: web.Request) -> web.Response:
    """The contact behind an inbox and a source id, or an empty 404."""
    world, body = request.app[WORLD], await body_of(request)
    inbox_id, source_id = body.get("inbox_id"), body.get("source_id")
    if not isinstance(inbox_id, int) or not isinstance(source_id, str):
        raise AnswerError(404, None)
    row = world.book.by_source(inbox_id, source_id)
    if row is None:
        raise AnswerError(404, None)
    return web.json_response(_contact_answer(world, row.contact))


async def list_contact_conversations(request: web.Request) -> web.Response:
    """The contact's newest twenty conversations."""
    rows = conversations.conversations_of(request.app[WORLD], _contact(request), CONTACT_CONVERSATIONS)
    return web.json_response({"payload": [shapes.conversation(row) for row in rows]})


def add_routes(app: web.Application) -> None:
    """Everything under /api, with who may call it."""
    account = "/api/v1/accounts/{account_id}"
    conversation = account + "/conversations/{conversation_id}"
    open_to_bots = for_users_and_bots
    app.router.add_get("/api", show_version)
    app.router.add_get("/api/v1/profile", for_users(show_profile))
    app.router.add_get(account + "/inboxes", for_users(list_inboxes))
    app.router.add_get(account + "/inboxes/{inbox_id}", for_users(show_inbox))
    app.router.add_get(account + "/webhooks", for_users(list_webhooks, administrator=True))
    app.router.add_post(account + "/webhooks", for_users(create_webhook, administrator=True))
    app.router.add_patch(account + "/webhooks/{webhook_id}", for_users(change_webhook, administrator=True))
    app.router.add_delete(account + "/webhooks/{webhook_id}", for_users(delete_webhook, administrator=True))
    app.router.add_get(account + "/contacts/search", for_users(search_contacts))
    app.router.add_get(account + "/contacts/{contact_id}", for_users(show_contact))
    app.router.add_put(account + "/contacts/{contact_id}", for_users(change_contact))
    app.router.add_get(account + "/contacts/{contact_id}/conversations", for_users(list_contact_conversations))
    app.router.add_post(account + "/contact_inboxes/filter", for_users(find_by_source))
    app.router.add_get(account + "/conversations", for_users(conversations.list_conversations))
    app.router.add_get(conversation, open_to_bots(conversations.show_conversation))
    app.router.add_get(conversation + "/messages", for_users(conversations.list_messages))
    app.router.add_post(conversation + "/messages", open_to_bots(conversations.create_message))
    app.router.add_patch(conversation + "/messages/{message_id}", for_users(conversations.update_message))
    app.router.add_delete(conversation + "/messages/{message_id}", for_users(conversations.delete_message))
    app.router.add_get(conversation + "/labels", open_to_bots(conversations.show_labels))
    app.router.add_post(conversation + "/labels", open_to_bots(conversations.replace_labels))
    app.router.add_post(conversation + "/toggle_status", open_to_bots(conversations.toggle_status))
    app.router.add_post(conversation + "/assignments", open_to_bots(conversations.assign))
    app.router.add_post(conversation + "/custom_attributes", open_to_bots(conversations.replace_custom_attributes))
