"""REST for conversations and their messages."""

from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from sandbox.chatwoot import rest_shapes as shapes
from sandbox.chatwoot.access import (
    CALLER,
    WORLD,
    AnswerError,
    not_found,
    unauthorized,
    unprocessable,
)
from sandbox.chatwoot.forms import (
    body_of,
    number_in,
    number_of,
    object_of,
    optional_text_of,
    query_number,
    text_of,
    texts_of,
)
from sandbox.chatwoot.payloads import actor_push, epoch
from sandbox.chatwoot.records import API, STATUSES, Agent, Bot, Contact, Conversation, Message
from sandbox.chatwoot.world import World

CONVERSATION_PAGE = 25
MESSAGE_PAGE = 20
MESSAGE_PAGE_AFTER = 100
MESSAGE_PAGE_BETWEEN = 1000
LABEL_COUNT_MAX = 100


def _conversation(request: web.Request) -> Conversation:
    found = request.app[WORLD].conversations.get(number_in(request, "conversation_id"))
    return found or not_found()


async def list_conversations(request: web.Request) -> web.Response:
    """Newest activity first. Open ones unless `status` says otherwise; `updated_within` turns paging off."""
    world = request.app[WORLD]
    rows = _filtered(world, request)
    status = request.query.get("status", "open")
    shown = [row for row in rows if status in ("all", row.status)]
    assigned = [row for row in shown if row.assignee is not None]
    mine = [row for row in assigned if row.assignee is request[CALLER].principal]
    meta = {
        "mine_count": len(mine),
        "assigned_count": len(assigned),
        "unassigned_count": len(shown) - len(assigned),
        "all_count": len(shown),
    }
    match request.query.get("assignee_type"):
        case "me":
            shown = mine
        case "assigned":
            shown = assigned
        case "unassigned":
            shown = [row for row in shown if row.assignee is None]
    if "updated_within" not in request.query:
        page = max(1, query_number(request, "page") or 1)
        shown = shown[(page - 1) * CONVERSATION_PAGE : page * CONVERSATION_PAGE]
    return web.json_response({"data": {"meta": meta, "payload": [shapes.conversation(row) for row in shown]}})


def _filtered(world: World, request: web.Request) -> list[Conversation]:
    rows = sorted(world.conversations.values(), key=lambda row: (row.last_activity_at, row.id), reverse=True)
    if (inbox_id := query_number(request, "inbox_id")) is not None:
        rows = [row for row in rows if row.inbox.id == inbox_id]
    if (within := query_number(request, "updated_within")) is not None:
        oldest = world.now() - timedelta(seconds=within)
        rows = [row for row in rows if row.updated_at > oldest]
    if source_id := request.query.get("source_id"):
        rows = [row for row in rows if row.contact_inbox.source_id == source_id]
    if wanted := request.query.getall("labels[]", []):
        rows = [row for row in rows if set(wanted) & set(row.labels)]
    return rows


async def show_conversation(request: web.Request) -> web.Response:
    """One conversation by its display id."""
    return web.json_response(shapes.conversation(_conversation(request)))


async def list_messages(request: web.Request) -> web.Response:
    """Ascending, notes and activities included: the last 20, 20 before an id, 100 from an id, or 1000 between."""
    conversation = _conversation(request)
    before, after = query_number(request, "before"), query_number(request, "after")
    rows = conversation.messages
    if after is not None and before is not None:
        rows = [row for row in rows if after <= row.id < before][:MESSAGE_PAGE_BETWEEN]
    elif after is not None:
        rows = [row for row in rows if row.id > after][:MESSAGE_PAGE_AFTER]
    elif before is not None:
        rows = [row for row in rows if row.id < before][-MESSAGE_PAGE:]
    else:
        rows = rows[-MESSAGE_PAGE:]
    meta = {
        "labels": conversation.labels,
        "additional_attributes": conversation.additional_attributes,
        "contact": shapes.contact(conversation.contact),
        "assignee": None if conversation.assignee is None else actor_push(conversation.assignee),
        "agent_last_seen_at": epoch(conversation.agent_last_seen_at),
        "assignee_last_seen_at": 0,
    }
    return web.json_response({"meta": meta, "payload": [shapes.message(row) for row in rows]})


async def create_message(request: web.Request) -> web.Response:
    """Writes a message as the token's owner. With a `source_id` it counts as sent, and the channel is not asked."""
    world, conversation = request.app[WORLD], _conversation(request)
    body = await body_of(request)
    content = optional_text_of(body, "content")
    principal = request[CALLER].principal
    kind = body.get("message_type", "outgoing")
    if kind == "incoming":
        message = _incoming(world, conversation, content, body)
    elif body.get("private"):
        if not isinstance(principal, Agent):
            unauthorized("You are not authorized to do this action")
        message = world.private_note(conversation, principal, content or "")
    else:
        message = world.agent_reply(
            conversation,
            principal,
            content or "",
            content_attributes=object_of(body, "content_attributes"),
            content_type=text_of(body, "content_type", "text"),
            source_id=optional_text_of(body, "source_id"),
        )
    answer = shapes.message(message)
    if "echo_id" in body:
        answer["echo_id"] = body["echo_id"]
    if not message.private and kind != "incoming" and message.source_id is None:
        world.provider_accepts(message)
        world.status_update(message, "delivered")
    return web.json_response(answer)


def _incoming(world: World, conversation: Conversation, content: str | None, body: dict[str, Any]) -> Message:
    """Evolution writes what a customer said this way; other channels refuse it."""
    if conversation.inbox.channel != API:
        unprocessable("Incoming messages are only allowed in Api inboxes")
    return world.receive(
        conversation,
        content,
        content_attributes=object_of(body, "content_attributes"),
        source_id=optional_text_of(body, "source_id"),
    )


async def update_message(request: web.Request) -> web.Response:
    """Sets the status of a message, in API inboxes alone."""
    world, message = request.app[WORLD], _message(request)
    if message.conversation.inbox.channel != API:
        raise AnswerError(403, {"error": "Message status update is only allowed for API inboxes"})
    body = await body_of(request)
    if body.get("status") not in ("sent", "delivered", "read", "failed"):
        unprocessable("Invalid status")
    world.status_update(message, body["status"], error=optional_text_of(body, "external_error"))
    return web.json_response(shapes.message(message))


async def delete_message(request: web.Request) -> web.Response:
    """Empties a message; its row stays."""
    message = _message(request)
    request.app[WORLD].delete_message(message)
    return web.json_response(shapes.message(message))


def _message(request: web.Request) -> Message:
    conversation, message_id = _conversation(request), number_in(request, "message_id")
    message = request.app[WORLD].messages.get(message_id)
    return message if message is not None and message.conversation is conversation else not_found()


async def show_labels(request: web.Request) -> web.Response:
    """The set as it is."""
    return web.json_response({"payload": _conversation(request).labels})


async def replace_labels(request: web.Request) -> web.Response:
    """Replaces the whole set: two writers can undo each other, as with the real one."""
    conversation = _conversation(request)
    body = await body_of(request)
    labels = texts_of(body, "labels") or ()
    if len(labels) > LABEL_COUNT_MAX:
        unprocessable("Labels are too many")
    request.app[WORLD].set_labels(conversation, labels)
    return web.json_response({"payload": conversation.labels})


async def toggle_status(request: web.Request) -> web.Response:
    """Sets the status, or toggles it without one. An unknown status is a 500; opening as an agent assigns."""
    world, conversation = request.app[WORLD], _conversation(request)
    body = await body_of(request)
    status = body.get("status") or ("resolved" if conversation.status == "open" else "open")
    if status not in STATUSES:
        raise AnswerError(500, {"status": 500, "error": "Internal Server Error"})
    until = body.get("snoozed_until")
    world.set_status(
        conversation,
        status,
        snoozed_until=datetime.fromtimestamp(until, UTC) if isinstance(until, int | float) else None,
    )
    principal = request[CALLER].principal
    if status == "open" and isinstance(principal, Agent) and principal.role == "agent":
        world.assign(conversation, principal)
    answer = {
        "success": True,
        "conversation_id": conversation.id,
        "current_status": conversation.status,
        "snoozed_until": epoch(conversation.snoozed_until) or None,
    }
    return web.json_response({"meta": {}, "payload": answer})


async def assign(request: web.Request) -> web.Response:
    """Assigns an agent, a bot or a team; null takes the assignee away."""
    world, conversation = request.app[WORLD], _conversation(request)
    body = await body_of(request)
    if "team_id" in body and "assignee_id" not in body:
        team = world.setup.teams.get(number_of(body, "team_id") or 0)
        world.set_team(conversation, team)
        return web.json_response(shapes.team(team))
    actors: dict[int, Agent] | dict[int, Bot] = world.setup.agents
    if body.get("assignee_type") == "AgentBot":
        actors = world.setup.bots
    wanted = number_of(body, "assignee_id")
    assignee = None if wanted is None else actors.get(wanted)
    if wanted is not None and assignee is None:
        not_found()
    world.assign(conversation, assignee)
    return web.json_response(shapes.assignee(assignee, world.account))


async def replace_custom_attributes(request: web.Request) -> web.Response:
    """Replaces the whole object."""
    conversation = _conversation(request)
    body = await body_of(request)
    request.app[WORLD].set_custom_attributes(conversation, object_of(body, "custom_attributes"))
    return web.json_response({"custom_attributes": conversation.custom_attributes})


def conversations_of(world: World, contact: Contact, limit: int) -> list[Conversation]:
    """A contact's conversations, newest first."""
    rows = [row for row in world.conversations.values() if row.contact is contact]
    return sorted(rows, key=lambda row: row.id, reverse=True)[:limit]
