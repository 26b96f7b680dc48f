"""Puts the fake together: one world, its sender, its faults, one HTTP server."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from sandbox.chatwoot import control, rest
from sandbox.chatwoot.access import FAULTS, STOPPING, WORLD, answers, rest_faults
from sandbox.chatwoot.faults import Faults
from sandbox.chatwoot.records import API, INSTAGRAM, WHATSAPP
from sandbox.chatwoot.sender import Outcome, Sender
from sandbox.chatwoot.world import World

BODY_BYTES_MAX = 8 * 1024 * 1024


def make_app(world: World, sender: Sender, faults: Faults) -> web.Application:
    """The server. While it runs, what happens in the world is sent to its webhooks."""
    app = web.Application(middlewares=[answers, rest_faults], client_max_size=BODY_BYTES_MAX)
    app[WORLD], app[FAULTS], app[control.SENDER] = world, faults, sender
    app[control.BACKGROUND], app[STOPPING] = set(), asyncio.Event()
    world.listen(sender.offer)
    sender.watch(lambda outcome: mark_failed(world, outcome))
    rest.add_routes(app)
    control.add_routes(app)
    app.on_shutdown.append(_release_held_requests)
    app.cleanup_ctx.append(_run_sender)
    return app


def set_up_account(
    world: World,
    *,
    whatsapp_inbox_id: int = 1,
    instagram_inbox_id: int = 2,
    evolution_inbox_id: int | None = None,
    access_token: str | None = None,
) -> None:
    """The account of the demo: an administrator whose token this is, an agent, a team, an inbox per channel."""
    setup = world.setup
    setup.add_agent("Otávio Brandão", "otavio@escola-ipe.example", "administrator", access_token=access_token)
    setup.add_agent("Larissa Queiroz", "larissa@escola-ipe.example")
    setup.add_team("matrículas")
    setup.add_inbox(WHATSAPP, "WhatsApp Escola Ipê", inbox_id=whatsapp_inbox_id)
    setup.add_inbox(INSTAGRAM, "@escolaipe", inbox_id=instagram_inbox_id)
    if evolution_inbox_id is not None:
        setup.add_inbox(API, "whatsapp-vendas", inbox_id=evolution_inbox_id)


def mark_failed(world: World, outcome: Outcome) -> None:
    """A webhook of an API inbox that fails marks its message failed, which is announced once more."""
    event, target = outcome.delivery.event, outcome.delivery.target
    if outcome.accepted or target.inbox_id is None or event.message_id is None:
        return
    message = world.messages[event.message_id]
    if message.status != "failed":
        world.status_update(message, "failed", error=outcome.error or f"HTTP {outcome.status}")


async def _release_held_requests(app: web.Application) -> None:
    app[STOPPING].set()


async def _run_sender(app: web.Application) -> AsyncIterator[None]:
    sender, background = app[control.SENDER], app[control.BACKGROUND]
    await sender.start()
    yield
    for task in list(background):
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    await sender.close()
