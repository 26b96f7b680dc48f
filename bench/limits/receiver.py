"""The bare receiver: HMAC, parse, one naturally batched insert of the raw bytes, 200 after the commit. Nothing else.

`python -m bench.limits.receiver DATABASE_URL SECRET` serves on a free port, which it prints.
"""

from __future__ import annotations

import asyncio
import hmac
import sys

import orjson
import psycopg
import uvloop
from aiohttp import web

FLUSHERS = 2
BATCH_MAX = 100

SCHEMA = """
create schema if not exists bare;
drop table if exists bare.webhooks;
create table bare.webhooks (
  connection_key text not null,
  delivery_key text not null,
  body bytea not null,
  primary key (connection_key, delivery_key)
) with (autovacuum_enabled = false);
alter table bare.webhooks alter column body set storage external;
"""
INSERT = """
insert into bare.webhooks (connection_key, delivery_key, body)
select * from unnest(%b::text[], %b::text[], %b::bytea[]) on conflict do nothing
"""

Waiting = tuple[str, str, bytes, "asyncio.Future[None]"]


class Receiver:
    """Gathers what arrives while two connections are busy."""

    def __init__(self, database_url: str, secret: str) -> None:
        self._database_url = database_url
        self._secret = secret.encode()
        self._queue: asyncio.Queue[Waiting] = asyncio.Queue()

    async def flush(self) -> None:
        """Writes batches for ever."""
        async with await psycopg.AsyncConnection.connect(self._database_url, autocommit=True) as connection:
            while True:
                batch = [await self._queue.get()]
                while len(batch) < BATCH_MAX and not self._queue.empty():
                    batch.append(self._queue.get_nowait())
                columns = [list(column) for column in zip(*(item[:3] for item in batch), strict=True)]
                await connection.execute(INSERT, columns, prepare=True)
                for item in batch:
                    item[3].set_result(None)

    async def take(self, request: web.Request) -> web.Response:
        """One webhook."""
        body = await request.read()
        stamp = request.headers["X-Chatwoot-Timestamp"].encode()
        expected = hmac.digest(self._secret, stamp + b"." + body, "sha256").hex()
        if not hmac.compare_digest("sha256=" + expected, request.headers["X-Chatwoot-Signature"]):
            return web.Response(status=401)
        orjson.loads(body)
        done = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((request.match_info["key"], request.headers["X-Chatwoot-Delivery"], body, done))
        await done
        return web.Response(body=b'{"success":true}', content_type="application/json")


async def serve(database_url: str, secret: str) -> None:
    """Serves until it is killed."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(SCHEMA.encode())
    receiver = Receiver(database_url, secret)
    flushers = [asyncio.create_task(receiver.flush()) for _ in range(FLUSHERS)]
    app = web.Application(client_max_size=8 * 1024 * 1024)
    app.router.add_post("/webhooks/chatwoot/{key}", receiver.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.gather(*flushers)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], sys.argv[2]))
