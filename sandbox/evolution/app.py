"""Evolution's HTTP side, with its statuses and its five shapes of an error, and what tests and the demo steer it by."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web

from sandbox.evolution.faults import Fault, Faults
from sandbox.evolution.numbers import PHONE_SERVER, create_jid, lid_of
from sandbox.evolution.sender import Webhook
from sandbox.evolution.world import CLOSE, OPEN, Instance, World

VERSION = "2.3.7"
BODY_BYTES_MAX = 136 * 1024 * 1024
WORLD: web.AppKey[World] = web.AppKey("world", World)
FAULTS: web.AppKey[Faults] = web.AppKey("faults", Faults)
GLOBAL_KEY: web.AppKey[str] = web.AppKey("global_key", str)
WORDS = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 500: "Internal Server Error"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AnswerError(Exception):
    """Ends the request; ``message`` has one of Evolution's shapes."""

    def __init__(self, status: int, message: Any) -> None:
        super().__init__(status)
        self.status, self.message = status, message


def make_app(world: World, faults: Faults, global_key: str) -> web.Application:
    """The server."""
    app = web.Application(middlewares=[_answers, _faults], client_max_size=BODY_BYTES_MAX)
    app[WORLD], app[FAULTS], app[GLOBAL_KEY] = world, faults, global_key
    app.add_routes(
        [
            web.get("/", _version),
            web.post("/instance/create", _create),
            web.get("/instance/fetchInstances", _fetch_instances),
            web.get("/instance/connect/{instance}", _of_instance(_connect)),
            web.get("/instance/connectionState/{instance}", _of_instance(_connection_state)),
            web.delete("/instance/logout/{instance}", _of_instance(_logout)),
            web.delete("/instance/delete/{instance}", _of_instance(_delete)),
            web.post("/webhook/set/{instance}", _of_instance(_set_webhook)),
            web.get("/webhook/find/{instance}", _of_instance(_find_webhook)),
            web.post("/message/sendText/{instance}", _of_instance(_send_text)),
            web.post("/chat/findMessages/{instance}", _of_instance(_find_messages)),
            web.post("/chat/whatsappNumbers/{instance}", _of_instance(_whatsapp_numbers)),
            web.post("/_sandbox/{what}", _control),
            web.get("/_sandbox/sent", _sent),
        ]
    )
    app.cleanup_ctx.append(_run)
    return app


async def _run(app: web.Application) -> AsyncIterator[None]:
    world = app[WORLD]
    await world.sender.start()
    yield
    await world.close()
    await world.sender.close()


@web.middleware
async def _answers(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except AnswerError as error:
        return _refusal(error.status, error.message)
    except web.HTTPNotFound:
        return _refusal(404, [f"Cannot {request.method} {request.path}"])


@web.middleware
async def _faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    faults, path = request.app[FAULTS], request.path
    if path.startswith("/_sandbox"):
        return await handler(request)
    if faults.draw("rest.refused_connection", path):
        return _break_off(request)
    if (slow := faults.draw("rest.slow", path)) is not None:
        await asyncio.sleep(slow.seconds)
    if faults.draw("rest.error", path):
        return _refusal(500, "Cannot read properties of undefined (reading 'textMessage')")
    if faults.draw("rest.closed", path):
        return _refusal(500, "Connection Closed")
    answer = await handler(request)
    if faults.draw("rest.not_saved", path):
        return _refusal(400, ["PrismaClientKnownRequestError: Invalid `this.prismaRepository.message.create()`"])
    return _break_off(request) if faults.draw("rest.lost_answer", path) else answer


def _break_off(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _refusal(status: int, message: Any) -> web.Response:
    return _json({"status": status, "error": WORDS[status], "response": {"message": message}}, status)


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")


async def _read(request: web.Request) -> dict[str, Any]:
    with contextlib.suppress(orjson.JSONDecodeError):
        body = orjson.loads(await request.read() or b"{}")
        if isinstance(body, dict):
            return body
    raise AnswerError(400, ["Invalid JSON"])


def _of_instance(act: Callable[[web.Request, Instance], Awaitable[web.Response]]) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        # The name is looked at before the key: so it is at Evolution.
        name = request.match_info["instance"]
        instance = request.app[WORLD].instances.get(name)
        if instance is None:
            raise AnswerError(404, [f'The "{name}" instance does not exist'])
        if request.headers.get("apikey") not in (request.app[GLOBAL_KEY], instance.token):
            raise AnswerError(401, "Unauthorized")
        return await act(request, instance)

    return handle


async def _version(request: web.Request) -> web.Response:
    return _json({"status": 200, "message": "Welcome to the Evolution API, it is working!", "version": VERSION})


async def _create(request: web.Request) -> web.Response:
    world, body = request.app[WORLD], await _read(request)
    name = body.get("instanceName")
    if name in world.instances:
        raise AnswerError(403, [f'This name "{name}" is already in use.'])
    if request.headers.get("apikey") != request.app[GLOBAL_KEY]:
        raise AnswerError(401, "Unauthorized")
    if not isinstance(name, str) or not name:
        raise AnswerError(400, [['instance requires property "instanceName"']])
    if body.get("integration") != "WHATSAPP-BAILEYS":
        raise AnswerError(400, ["Invalid integration"])
    webhook = None
    if isinstance(body.get("webhook"), dict):
        if not isinstance(body["webhook"].get("events"), list):
            raise AnswerError(400, ["Cannot read properties of undefined (reading 'length')"])
        webhook = _webhook(body["webhook"])
    qrcode = body.get("qrcode") is True
    instance = world.create(name, str(body.get("token") or ""), webhook, str(body.get("number") or ""), qrcode=qrcode)
    answer = {
        "instance": {
            "instanceName": name,
            "instanceId": instance.instance_id,
            "integration": "WHATSAPP-BAILEYS",
            "webhookWaBusiness": None,
            "accessTokenWaBusiness": "",
            "status": instance.state,
        },
        "hash": instance.token,
        "webhook": {} if webhook is None else {"webhookUrl": webhook.url, "webhookHeaders": webhook.headers},
        **{name: {} for name in ("websocket", "rabbitmq", "nats", "sqs")},
        "settings": {"groupsIgnore": body.get("groupsIgnore") is True},
    }
    if qrcode:
        answer["qrcode"] = {**world.code(instance), "count": instance.qr_count}
    return _json(answer, 201)


async def _fetch_instances(request: web.Request) -> web.Response:
    world, name = request.app[WORLD], request.query.get("instanceName")
    if request.headers.get("apikey") != request.app[GLOBAL_KEY]:
        raise AnswerError(401, "Unauthorized")
    if name is not None and name not in world.instances:
        raise AnswerError(404, [f'Instance "{name}" not found'])
    return _json(
        [
            {
                "id": instance.instance_id,
                "name": instance.name,
                "connectionStatus": instance.state,
                "ownerJid": instance.account or None,
                "profileName": instance.profile_name or None,
                "integration": "WHATSAPP-BAILEYS",
                "token": instance.token,
            }
            for instance in world.instances.values()
            if name in (None, instance.name)
        ]
    )


async def _connect(request: web.Request, instance: Instance) -> web.Response:
    world = request.app[WORLD]
    if instance.state == OPEN:
        return await _connection_state(request, instance)
    if instance.state == CLOSE:
        world.connect(instance)
        # The code is drawn while the answer waits for nobody: often it says only this.
        return _json({"count": 0})
    return _json({**world.code(instance), "count": instance.qr_count})


async def _connection_state(_request: web.Request, instance: Instance) -> web.Response:
    return _json({"instance": {"instanceName": instance.name, "state": instance.state}})


async def _logout(request: web.Request, instance: Instance) -> web.Response:
    if instance.state == CLOSE:
        raise AnswerError(400, [f'The "{instance.name}" instance is not connected'])
    request.app[WORLD].end(instance, 401)
    return _json({"status": "SUCCESS", "error": False, "response": {"message": "Instance logged out"}})


async def _delete(request: web.Request, instance: Instance) -> web.Response:
    del request.app[WORLD].instances[instance.name]
    return _json({"status": "SUCCESS", "error": False, "response": {"message": "Instance deleted"}})


def _webhook(given: dict[str, Any]) -> Webhook:
    headers = {str(name): str(value) for name, value in (given.get("headers") or {}).items()}
    return Webhook(str(given.get("url") or ""), headers, list(given.get("events") or []), given.get("byEvents") is True)


async def _set_webhook(request: web.Request, instance: Instance) -> web.Response:
    given = (await _read(request)).get("webhook")
    if not isinstance(given, dict) or "enabled" not in given or not given.get("url"):
        raise AnswerError(400, [['instance.webhook requires property "enabled"']])
    instance.webhook = _webhook(given)
    instance.webhook.enabled = given["enabled"] is True
    return await _find_webhook(request, instance, 201)


async def _find_webhook(_request: web.Request, instance: Instance, status: int = 200) -> web.Response:
    found = instance.webhook
    row = None
    if found is not None:
        row = {"url": found.url, "headers": found.headers, "enabled": found.enabled, "events": found.events}
        row |= {"webhookByEvents": found.by_events, "webhookBase64": False, "instanceId": instance.instance_id}
    return _json(row, status)


async def _send_text(request: web.Request, instance: Instance) -> web.Response:
    body = await _read(request)
    number, text = body.get("number"), body.get("text")
    if not isinstance(number, str):
        raise AnswerError(400, [["Invalid format"]])
    if "text" not in body:
        raise AnswerError(400, [['instance requires property "text"']])
    if not isinstance(text, str) or not text.strip():
        raise AnswerError(400, ["Text is required"])
    if instance.state != OPEN:
        raise AnswerError(500, "Connection Closed")
    sent = request.app[WORLD].send(instance, number, text)
    if sent is None:
        raise AnswerError(400, [{"jid": create_jid(number), "exists": False, "number": number}])
    return _json(sent, 201)


async def _find_messages(request: web.Request, instance: Instance) -> web.Response:
    key = ((await _read(request)).get("where") or {}).get("key") or {}
    found = [
        data
        for data in request.app[WORLD].messages
        if data["instanceId"] == instance.instance_id
        and all(data["key"].get(name) == value for name, value in key.items())
    ]
    return _json({"messages": {"total": len(found), "pages": 1, "currentPage": 1, "records": found[::-1]}})


async def _whatsapp_numbers(request: web.Request, _instance: Instance) -> web.Response:
    absent = request.app[WORLD].absent
    return _json(
        [
            {"jid": create_jid(number), "exists": number not in absent, "number": number, "lid": lid_of(number)}
            for number in map(str, (await _read(request)).get("numbers") or [])
        ]
    )


async def _sent(request: web.Request) -> web.Response:
    return _json([{name: getattr(sent, name) for name in type(sent).__slots__} for sent in request.app[WORLD].sent])


async def _control(request: web.Request) -> web.Response:
    """What nobody could ask of Evolution: people act, the network fails."""
    world, faults, body, what = (
        request.app[WORLD],
        request.app[FAULTS],
        await _read(request),
        request.match_info["what"],
    )
    if what == "fault":
        faults.set(Fault(**body))
        return _json({})
    if what == "calm":
        faults.clear()
        return _json({})
    if what == "absent":
        world.absent.add(str(body["phone"]).lstrip("+"))
        return _json({})
    named = body.pop("instance", None)
    instance = next(iter(world.instances.values()), None) if named is None else world.instances.get(named)
    if instance is None:
        raise AnswerError(404, ["There is no such instance"])
    match what:
        case "scan":
            world.scan(instance, **body)
        case "write":
            return _json({"id": world.person_writes(instance, **body)})
        case "end":
            world.end(instance, int(body["reason"]))
        case "lose":
            world.lose(instance, **body)
        case "refuse":
            world.refuse(instance)
        case "receipt":
            world.receipt(instance, body.get("jid", "0" + PHONE_SERVER), body["id"], body["status"])
        case _:
            raise AnswerError(404, [f"Cannot {what}"])
    return _json({})
