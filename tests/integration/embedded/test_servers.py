"""The real servers, stopped, frozen and killed."""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import tempfile
from pathlib import Path

import nats
import psutil  # type: ignore[import-untyped]
import psycopg
import pytest
import redis.asyncio

from embedded.child import Account, freeze_tree, launched
from embedded.errors import EmbeddedError
from embedded.postgres import SOCKET_PATH_BYTES_MAX, EmbeddedPostgres
from embedded.programs import INSTALLATION, PACKAGE, binaries_for
from embedded.servers import EmbeddedServers, embedded_servers
from tests.integration.embedded.fakes import WAIT_SECONDS, alive, descendants, describe, line_of, program, status, until


async def count_starts(servers: EmbeddedServers) -> int:
    async with await psycopg.AsyncConnection.connect(servers.database_url) as connection:
        cursor = await connection.execute("select count(*) from starts")
        row = await cursor.fetchone()
        assert row is not None
        return int(row[0])


async def test_all_three_serve_with_their_passwords_only_and_leave_no_process(tmp_path: Path) -> None:
    # The worker's own servers run on.
    others = set(descendants(os.getpid()))
    async with embedded_servers(tmp_path) as servers:
        pids = set(descendants(os.getpid())) - others
        async with await psycopg.AsyncConnection.connect(servers.database_url) as connection:
            cursor = await connection.execute("select lower('É'), current_setting('fsync')")
            assert await cursor.fetchone() == ("é", "off")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            await psycopg.AsyncConnection.connect(servers.database_url.replace("prosa:", "prosa:wrong", 1))

        client = await nats.connect(servers.nats_url)
        await client.jetstream().add_stream(name="S", subjects=["s"])
        assert (await client.jetstream().publish("s", b"1")).seq == 1
        await client.close()

        store = redis.asyncio.from_url(servers.redis_url)
        assert await store.set("key", "value")
        await store.aclose()
        stranger = redis.asyncio.from_url(servers.redis_url.replace("redis://:", "redis://:wrong"))
        with pytest.raises(redis.asyncio.AuthenticationError):
            await stranger.get("key")
        await stranger.aclose()

        # A JetStream whose store is deleted while it is down comes back empty.
        await servers.nats.stop(graceful=False)
        shutil.rmtree(servers.nats_store)
        await servers.nats.start()
        client = await nats.connect(servers.nats_url)
        assert (await client.jetstream().account_info()).streams == 0
        await client.close()
    assert len(pids) > 5
    assert not any(alive(pid) for pid in pids)


async def test_postgres_recovers_from_a_killed_postmaster_whose_backends_are_frozen(tmp_path: Path) -> None:
    async with embedded_servers(tmp_path) as servers:
        async with await psycopg.AsyncConnection.connect(servers.database_url) as connection:
            await connection.execute("create table starts (started integer)")
            await connection.execute("insert into starts values (1)")
        postmaster = servers.postgres.pid
        assert postmaster is not None
        backends = descendants(postmaster)
        for backend in backends:
            # A backend of the connection just closed may end by itself meanwhile.
            with contextlib.suppress(ProcessLookupError):
                os.kill(backend, signal.SIGSTOP)
        await servers.postgres.kill_and_wait()
        assert not any(alive(pid) for pid in backends)
        assert await count_starts(servers) == 1


@pytest.mark.case("O15")
async def test_a_frozen_server_answers_nothing_until_it_is_thawed(tmp_path: Path) -> None:
    async with embedded_servers(tmp_path) as servers:
        for handle in (servers.postgres, servers.nats, servers.redis):
            assert handle.pid is not None
            main, others = handle.pid, descendants(handle.pid)
            handle.freeze()
            await until(lambda main=main: status(main) == "stopped")
            # A worker that was about to end may have ended; nobody waits for it while its parent is frozen.
            await until(lambda others=others: all(status(pid) in {"stopped", "zombie", "gone"} for pid in others))
        waiting = asyncio.create_task(psycopg.AsyncConnection.connect(servers.database_url))
        servers.postgres.thaw()
        await (await asyncio.wait_for(waiting, WAIT_SECONDS)).close()


async def test_a_start_after_everything_was_killed_finds_the_data(tmp_path: Path) -> None:
    async with program("run_servers", str(tmp_path)) as process:
        assert await line_of(process) == "ready 1"
        postmaster = next(pid for pid, name, _ in describe(process.pid) if name == "postgres")
        ports = (tmp_path / "ports.json").read_text()
        # The worst case: PostgreSQL is frozen, so neither the signal of its supervisor's death nor that death reach it.
        freeze_tree(postmaster)
        leftovers = descendants(process.pid)
        process.kill()
        await process.wait()
        assert alive(postmaster)
        async with embedded_servers(tmp_path) as servers:
            assert not any(alive(pid) for pid in leftovers)
            assert (tmp_path / "ports.json").read_text() == ports
            assert await count_starts(servers) == 1


async def test_killing_the_supervisor_ends_the_servers(tmp_path: Path) -> None:
    async with program("run_servers", str(tmp_path)) as process:
        assert await line_of(process) == "ready 1"
        pids = descendants(process.pid)
        process.kill()
        await until(lambda: not any(alive(pid) for pid in pids))


async def test_a_stale_lock_file_with_the_pid_of_another_program_is_no_hindrance(tmp_path: Path) -> None:
    async with embedded_servers(tmp_path):
        pass
    lock = tmp_path / "postgres" / "data" / "postmaster.pid"
    owner = lock.parent.stat()
    # Of the same user, or PostgreSQL would see by itself that it cannot be a server of this directory.
    account = Account(owner.st_uid, owner.st_gid) if os.geteuid() == 0 else None
    stranger = await asyncio.create_subprocess_exec(*launched(("/bin/sleep", "60"), account=account))
    lock.write_text(f"{stranger.pid}\n{lock.parent}\n1700000000\n5432\n\n127.0.0.1\n  1  1\nready\n")
    os.chown(lock, owner.st_uid, owner.st_gid)
    try:
        async with embedded_servers(tmp_path):
            assert stranger.returncode is None
    finally:
        stranger.kill()
        await stranger.wait()


async def test_our_own_processes_reach_postgres_over_a_socket_that_asks_for_the_password_too(
    servers: EmbeddedServers,
) -> None:
    url = servers.near_database_url
    async with await psycopg.AsyncConnection.connect(url) as connection:
        assert await (await connection.execute("select inet_client_addr()")).fetchone() == (None,)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        await psycopg.AsyncConnection.connect(url.replace("prosa:", "prosa:wrong", 1))


async def test_a_home_whose_path_fits_no_socket_is_reached_over_loopback(tmp_path: Path) -> None:
    deep = EmbeddedPostgres(tmp_path / ("x" * SOCKET_PATH_BYTES_MAX), 1, "password")
    assert deep.near_url == deep.url
    async with embedded_servers(tmp_path / "it's a home") as running:
        assert running.near_database_url == running.database_url
        async with await psycopg.AsyncConnection.connect(running.near_database_url) as connection:
            assert await (await connection.execute("select 1")).fetchone() == (1,)


async def test_a_data_directory_of_another_version_is_refused(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path, 1, "password")
    server.data.mkdir()
    (server.data / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedError, match="made by PostgreSQL 17") as refused:
        await server.prepare()
    assert refused.value.reason == "POSTGRES_VERSION"


def readable_programs(directory: Path, account: Account) -> Path:
    """What to add to sys.path, since this checkout may lie in a folder that only root may enter."""
    package = directory / "packages" / PACKAGE
    package.mkdir(parents=True)
    package.joinpath("__init__.py").touch()
    package.joinpath(INSTALLATION).symlink_to(binaries_for(account).parent)
    return package.parent


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user; everyone else is one already")
async def test_the_servers_start_as_an_ordinary_user_too() -> None:
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as directory:
        os.chown(directory, nobody.pw_uid, nobody.pw_gid)
        account = Account(nobody.pw_uid, nobody.pw_gid, "nobody")
        packages = readable_programs(Path(directory), account)
        async with program("run_servers", f"{directory}/home", account=account, path=packages) as process:
            assert await line_of(process) == "ready 1"
            assert {user for _, _, user in describe(process.pid)} == {nobody.pw_uid}
            pids = descendants(process.pid)
            assert process.stdin is not None
            process.stdin.close()
            assert await asyncio.wait_for(process.wait(), WAIT_SECONDS) == 0
            assert not any(alive(pid) for pid in pids)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has directories that another user may not enter")
async def test_as_root_postgres_runs_as_another_user_in_a_home_that_user_may_not_enter(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o700)  # noqa: PTH101 nothing else runs meanwhile
    async with embedded_servers(tmp_path / "the home of é") as servers:
        assert servers.postgres.pid is not None
        assert psutil.Process(servers.postgres.pid).uids().real != 0
    after = os.stat(tmp_path)  # noqa: PTH116 nothing else runs meanwhile
    assert (after.st_mode & 0o777, after.st_uid) == (0o700, 0)
