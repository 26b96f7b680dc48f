"""The embedded PostgreSQL: a data directory in the home, reached with a password.

Our own processes reach it over a Unix socket beside the data, which costs them less than half of what loopback does;
everybody else over loopback.
"""

import asyncio
import contextlib
import hashlib
import os
import pwd
import re
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import psycopg

from embedded.child import Account, ChildSpec, find_owned, kill_all, launched
from embedded.errors import EmbeddedError
from embedded.ports import LOOPBACK
from embedded.programs import binaries_for, can_enter

VERSION = "18"
ADMIN = "prosa"
DATABASE = "prosa"
INITDB_TIMEOUT_SECONDS = 120.0
PROBE_TIMEOUT_SECONDS = 5
STOP_TIMEOUT_SECONDS = 30.0
# Who runs PostgreSQL when we are root, the first that exists. Any unprivileged user will do, but initdb insists that it
# has a name, so a bare number is not enough.
ACCOUNT_NAMES = ("postgres", "nobody")
SOCKET_PATH_BYTES_MAX = 107
"""Of a Unix socket's path under Linux, see unix(7)."""
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")
"""A path that needs quoting neither in a URL nor in a configuration."""

SHARED_BUFFERS_MIN_MB, SHARED_BUFFERS_MAX_MB = 128, 2_048
"""The most holds what a message of any of a million contacts touches."""


def shared_buffers_mb(memory_mb: int) -> int:
    """A quarter of the machine's memory, as PostgreSQL advises; taken up only as there is data to fill it.

    The system's own cache may be small where machines are virtual, and each page it misses is a wait for the disk.
    """
    return min(max(memory_mb // 4, SHARED_BUFFERS_MIN_MB), SHARED_BUFFERS_MAX_MB)


def usable_memory_mb(limit_file: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """The machine's memory, or as much of it as the container we are in may use."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    try:
        return min(machine, int(limit_file.read_text()) // 2**20)
    except (OSError, ValueError):
        # No container, or one that says "max".
        return machine


SETTINGS: Mapping[str, str] = {
    "listen_addresses": f"'{LOOPBACK}'",
    # Whoever can read the data can reach the socket, and nobody else; the password is asked for all the same.
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": f"{shared_buffers_mb(usable_memory_mb())}MB",
    # Our reads are of single pages, which workers could only hand on; their processes would be there for nothing.
    "io_method": "sync",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    # Solid-state disks, and statements of milliseconds that compiling would only delay.
    "random_page_cost": "1.1",
    "jit": "off",
    "synchronous_commit": "on",
    "fsync": "on",
    "full_page_writes": "on",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "log_line_prefix": "'%m [%p] %u@%d '",
    "log_checkpoints": "off",
    # Stretching protects weak passwords; ours are drawn with 192 bits, and every pooled connection would pay for it.
    "scram_iterations": "1",
    # A customer that stopped answering must not hold a backend for two hours.
    "tcp_keepalives_idle": "60",
}
HOST_BASED_ACCESS = f"""
local all,replication all scram-sha-256
host all,replication all {LOOPBACK}/32 scram-sha-256
"""
NOT_DURABLE: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off"}


class EmbeddedPostgres:
    """One PostgreSQL server in a directory of its own; with `durable=False`, for tests, a power cut may destroy it."""

    def __init__(
        self,
        directory: Path,
        port: int,
        password: str,
        *,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.port = port
        self.password = password
        self.durable = durable
        self._settings = {**SETTINGS, **({} if durable else NOT_DURABLE), **(settings or {})}
        # Every process of this server carries this name in its title, and no process of another server does.
        self._mark = "prosa_" + hashlib.sha256(str(self.data.resolve()).encode()).hexdigest()[:16]

    @property
    def url(self) -> str:
        """The URL of the administrator, who may create roles and schemas."""
        return f"postgresql://{ADMIN}:{self.password}@{LOOPBACK}:{self.port}/{DATABASE}"

    @property
    def near_url(self) -> str:
        """The same over the Unix socket; over loopback where the directory's path is too long for one."""
        if not self._has_socket:
            return self.url
        return f"postgresql://{ADMIN}:{self.password}@/{DATABASE}?host={self.directory}&port={self.port}"

    @property
    def _has_socket(self) -> bool:
        path = str(self._socket)
        return len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX and _PLAIN_PATH.fullmatch(path) is not None

    @property
    def _socket(self) -> Path:
        return self.directory / f".s.PGSQL.{self.port}"

    def child(self) -> ChildSpec:
        """How the supervisor runs it."""
        return ChildSpec(
            name="postgres",
            command=(str(binaries_for(self._account) / "postgres"), "-D", str(self.data)),
            environment={"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath), "TZ": "UTC"},
            ready=self.ready,
            prepare=self.prepare,
            owns=self.owns,
            account=self._account,
            # The fast shutdown: it does not wait for clients, as SIGTERM would, and leaves nothing to recover.
            stop_signal=signal.SIGINT,
            stop_timeout_seconds=STOP_TIMEOUT_SECONDS,
            # SIGQUIT takes the backends along at once, where SIGKILL would leave them to find out by themselves.
            death_signal=signal.SIGQUIT,
        )

    async def prepare(self) -> None:
        """Makes the data directory at the first start, and clears what a killed server left at every later one."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (self.data / "PG_VERSION").exists():
            await self._initialize()
        version = (self.data / "PG_VERSION").read_text().strip()
        if version != VERSION:
            raise EmbeddedError(
                "POSTGRES_VERSION",
                f"{self.data} was made by PostgreSQL {version}, this installation brings {VERSION}. "
                "Dump it with the former installation and load it into a new home.",
            )
        self._own(self.directory)
        # Backends outlive a killed postmaster for a moment (for ever, if they were frozen) and hold the shared memory
        # that the next one refuses to share.
        await kill_all(find_owned(self.owns))
        # None of ours lives, so the pid in this file is dead or a stranger's; PostgreSQL would believe the stranger.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        self._socket.with_name(f"{self._socket.name}.lock").unlink(missing_ok=True)
        self._write("postgresql.conf", self._configuration())
        self._write("pg_hba.conf", HOST_BASED_ACCESS)

    async def ready(self) -> bool:
        """Says whether it answers a query; false also while it does not listen."""
        try:
            connection = await psycopg.AsyncConnection.connect(
                self.url, connect_timeout=PROBE_TIMEOUT_SECONDS, autocommit=True
            )
            async with connection:
                await connection.execute("select 1")
        except psycopg.OperationalError:
            return False
        return True

    def owns(self, command: Sequence[str]) -> bool:
        """Recognizes the postmaster by its data directory and the backends by the name in their titles."""
        if not command:
            return False
        if Path(command[0]).name == "postgres":
            return len(command) > 2 and command[1] == "-D" and Path(command[2]).resolve() == self.data.resolve()
        return command[0].startswith(f"postgres: {self._mark}: ")

    async def _initialize(self) -> None:
        draft = self.directory / "data.new"
        # A start that was killed half-way leaves a draft; only a whole directory gets the real name.
        await asyncio.to_thread(shutil.rmtree, draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        self._own(self.directory, draft)
        password_file = self.directory / "password.new"
        self._write_private(password_file, self.password + "\n")
        command = launched(
            (
                *(
                    str(binaries_for(self._account) / "initdb"),
                    "-D",
                    str(draft),
                    "-U",
                    ADMIN,
                    f"--pwfile={password_file}",
                ),
                *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"),
                # Lower and upper case of every alphabet, the same on every machine whatever locales it has.
                *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                *(() if self.durable else ("--no-sync",)),
            ),
            account=self._account,
        )
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)},
        )
        try:
            async with asyncio.timeout(INITDB_TIMEOUT_SECONDS):
                output, _ = await process.communicate()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        finally:
            password_file.unlink(missing_ok=True)
        if process.returncode != 0:
            raise EmbeddedError("INITDB_FAILED", f"initdb failed in {draft}: {output.decode(errors='replace').strip()}")
        await self._create_database(draft)
        draft.rename(self.data)

    async def _create_database(self, data: Path) -> None:
        """Makes the database in single-user mode, so that it is there as soon as the server is ready."""
        command = launched(
            (str(binaries_for(self._account) / "postgres"), "--single", "-D", str(data), "-F", "template1"),
            account=self._account,
        )
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"LC_ALL": "C"},
        )
        output, _ = await process.communicate(f"create database {DATABASE} owner {ADMIN};\n".encode())
        if process.returncode != 0 or b"ERROR" in output:
            raise EmbeddedError("INITDB_FAILED", f"create database failed: {output.decode(errors='replace').strip()}")

    def _configuration(self) -> str:
        lines = ["# Written at every start. Put your own settings into local.conf beside this file."]
        lines += [f"{name} = {value}" for name, value in sorted(self._settings.items())]
        lines += [f"unix_socket_directories = '{self.directory if self._has_socket else ''}'"]
        lines += [f"port = {self.port}", f"cluster_name = '{self._mark}'", "include_if_exists = 'local.conf'"]
        return "\n".join(lines) + "\n"

    @cached_property
    def _account(self) -> Account | None:
        """Who runs it, none for this user; its directory is there then, and reached by whoever it is."""
        if os.geteuid() != 0:
            return None
        chosen = self._chosen_account()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chown(self.directory, chosen.uid, chosen.gid)
        for walks in (False, True):
            # With the capability only where it cannot do without.
            account = replace(chosen, walks=walks)
            if can_enter(self.directory, account):
                return account
        raise EmbeddedError(
            "HOME_UNREACHABLE",
            f"PostgreSQL refuses to run as root, and its user {chosen.name} may not enter {self.directory}. Choose a "
            "home whose folders every user may walk through with --home, say /srv/prosa, or start as an ordinary user.",
        )

    def _chosen_account(self) -> Account:
        if self.data.exists() and (owner := self.data.stat()).st_uid != 0:
            # Stay with whom initdb ran as, though a better candidate may have appeared on the machine since.
            return Account(owner.st_uid, owner.st_gid, f"number {owner.st_uid}")
        for name in ACCOUNT_NAMES:
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(name)
                return Account(entry.pw_uid, entry.pw_gid, name)
        raise EmbeddedError(
            "NO_ACCOUNT",
            f"PostgreSQL refuses to run as root, and none of the users {', '.join(ACCOUNT_NAMES)} exists. "
            "Create one of them, or start as an ordinary user.",
        )

    def _own(self, *paths: Path) -> None:
        account = self._account
        if account is None:
            return
        for path in paths:
            # Of the link itself: the folder is the account's, which could have put a link in our file's place.
            os.chown(path, account.uid, account.gid, follow_symlinks=False)

    def _write(self, name: str, content: str) -> None:
        self._write_private(self.data / name, content)

    def _write_private(self, path: Path, content: str) -> None:
        draft = path.with_name(path.name + ".draft")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as target:
            target.write(content)
        self._own(draft)
        draft.replace(path)
