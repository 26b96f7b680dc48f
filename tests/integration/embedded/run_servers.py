"""Real servers in a process to be killed: `run_servers.py DIRECTORY` writes a row, says `ready` and waits."""

import asyncio
import sys
from pathlib import Path

import psycopg

from embedded.servers import embedded_servers


async def main(directory: Path) -> None:
    async with embedded_servers(directory) as servers:
        async with await psycopg.AsyncConnection.connect(servers.database_url) as connection:
            await connection.execute("create table if not exists starts (started integer)")
            await connection.execute("insert into starts values (1)")
            cursor = await connection.execute("select count(*) from starts")
            row = await cursor.fetchone()
            assert row is not None
        print(f"ready {row[0]}", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
