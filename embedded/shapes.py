"""Which processes the applications run in, and what each of them is told through its environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import chassis
from chassis import system
from chassis.system import ACCEPT as ACCEPT_TARGET
from chassis.system import GATEWAY as GATEWAY_TARGET
from chassis.system import SERVICES, service_of
from embedded.ports import LOOPBACK

TARGETS = tuple(target.name for target in system.TARGETS)
READER_ROLE = "prosa_reader"
REDIS_TARGETS: frozenset[str] = frozenset({"outreach"})
"""What uses Redis: limits of what is sent. Where this were empty no Redis would be started."""
RECEIVER_CORES_MIN = 2
RECEIVERS_CORES_MIN = 4
"""With so many cores two processes receive, so that one goes on while the other is started again."""
RECEIVERS_MAX = 8


FORMER_RECEIVER = "door"
"""What the shape with a receiver of its own was called before; start scripts may still say it."""


class Shape(StrEnum):
    """How the targets are split over processes."""

    ALL = "all"
    RECEIVER = "receiver"
    SERVICES = "services"

    @classmethod
    def _missing_(cls, value: object) -> Shape | None:
        return cls.RECEIVER if value == FORMER_RECEIVER else None


@dataclass(frozen=True, slots=True)
class AppProcess:
    """One process of the applications and the ports it listens on besides the public one."""

    name: str
    targets: tuple[str, ...]
    grpc_port: int
    metrics_port: int


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything is, for the environment of the applications."""

    home: Path
    http_port: int
    nats_url: str
    redis_url: str
    # By service: the URL of its role.
    service_database_urls: Mapping[str, str]
    apps: tuple[AppProcess, ...]

    def grpc_address(self, target: str) -> str:
        """The `host:port` which serves the target."""
        for app in self.apps:
            if target in app.targets:
                return f"{LOOPBACK}:{app.grpc_port}"
        raise KeyError(target)


def default_shape(cores: int | None = None) -> Shape:
    """One process is one interpreter lock: with two cores reception gets a process of its own."""
    return Shape.RECEIVER if (cores or os.cpu_count() or 1) >= RECEIVER_CORES_MIN else Shape.ALL


def default_receivers(cores: int | None = None) -> int:
    """How many processes receive from the public port where those are processes of their own."""
    return 2 if (cores or os.cpu_count() or 1) >= RECEIVERS_CORES_MIN else 1


def processes_of(shape: Shape, receivers: int = 1) -> dict[str, tuple[str, ...]]:
    """The targets of each process, by the process's name."""
    match shape:
        case Shape.ALL:
            return {"all": TARGETS}
        case Shape.RECEIVER:
            names = ["receiver", *(f"receiver-{number}" for number in range(2, receivers + 1))]
            return {**dict.fromkeys(names, (GATEWAY_TARGET, ACCEPT_TARGET)), "rest": SERVICES}
        case Shape.SERVICES:
            return {target: (target,) for target in TARGETS}


def serve_command(app: AppProcess) -> tuple[str, ...]:
    """The command of an application process. `-P` keeps folders of the user's current directory from shadowing ours."""
    return (sys.executable, "-P", "-m", "cli.main", "serve", "--target", ",".join(app.targets))


def app_environment(app: AppProcess, addresses: Addresses, caller: Mapping[str, str]) -> dict[str, str]:
    """The environment of one application process: the caller's, with where everything is.

    A process gets the database URLs of the services it runs and no other, and never the administrator's.
    """
    environment = {name: value for name, value in caller.items() if not _is_database_url(name)}
    for target in app.targets:
        service = service_of(target)
        if service in addresses.service_database_urls:
            environment[database_variable(service)] = addresses.service_database_urls[service]
    for target in TARGETS:
        if target != GATEWAY_TARGET:
            # What a process serves itself it calls there, also where a second one serves the same.
            address = f"{LOOPBACK}:{app.grpc_port}" if target in app.targets else addresses.grpc_address(target)
            environment[f"PROSA_{target.upper().replace('-', '_')}_ADDRESS"] = address
    environment |= {
        "PROSA_HOME": str(addresses.home),
        "PROSA_KEYS_DIR": str(addresses.home / "keys"),
        "PROSA_NATS_URL": addresses.nats_url,
        "PROSA_HTTP_PORT": str(addresses.http_port),
        "PROSA_GRPC_ADDRESS": f"{LOOPBACK}:{app.grpc_port}",
        "PROSA_METRICS_PORT": str(app.metrics_port),
        "PYTHONPATH": source_path(caller),
        "PYTHONUNBUFFERED": "1",
    }
    if addresses.redis_url:
        environment["PROSA_REDIS_URL"] = addresses.redis_url
    return environment


def database_variable(service: str) -> str:
    """The name of the variable with the URL of the service's role."""
    return f"PROSA_{service.upper()}_DATABASE_URL"


def role_of(service: str) -> str:
    """The service's database role."""
    return f"prosa_{service}"


def with_role(url: str, role: str, password: str) -> str:
    """The same database's URL for another role."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(role, safe='')}:{quote(password, safe='')}@{host}"))


def source_path(caller: Mapping[str, str]) -> str:
    """PYTHONPATH under which a child imports the very code that runs here, be it a checkout or an installation."""
    root = Path(chassis.__file__ or "").parent.parent
    paths = [str(root), str(root / "gen"), caller.get("PYTHONPATH", "")]
    return os.pathsep.join(path for path in paths if path)


def _is_database_url(name: str) -> bool:
    return name.startswith("PROSA_") and name.endswith("DATABASE_URL")
