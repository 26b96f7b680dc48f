"""Free loopback ports and drawn passwords, chosen at the first start and kept in the home."""

import json
import os
import random
import secrets
import socket
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from chassis.json_reading import read_json
from embedded.errors import EmbeddedError

PORT_MIN = 10240
PORT_ATTEMPT_COUNT_MAX = 200
PASSWORD_BYTES = 24
LOOPBACK = "127.0.0.1"
EPHEMERAL_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")
EPHEMERAL_MIN_DEFAULT = 32768


def port_is_free(port: int, host: str = LOOPBACK) -> bool:
    """Says whether a listener could be opened on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        # As servers do, so that connections which are still fading away from the last run do not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            return False
    return True


def choose_ports(file: Path, names: Sequence[str], avoid: Collection[int] = ()) -> dict[str, int]:
    """Gives each name a free loopback port, the kept one where it is still free, and keeps the outcome in the file."""
    kept = _read(file)
    taken = set(avoid)
    chosen: dict[str, int] = {}
    for name in names:
        port = kept.get(name)
        if not isinstance(port, int) or port in taken or not port_is_free(port):
            port = free_port(taken)
        taken.add(port)
        chosen[name] = port
    # A name this run does not use keeps its port for a later one.
    write_private(file, {**kept, **chosen})
    return chosen


def free_port(avoid: Collection[int] = ()) -> int:
    """Draws a free loopback port below the range the kernel gives to outgoing connections.

    A port inside that range can be lost while its server restarts: a client that retries on loopback may be given the
    very port it dials, is then connected to itself, and the server finds its address in use.
    """
    ephemeral_min = _ephemeral_min()
    if ephemeral_min <= PORT_MIN:
        return _any_port()
    draw = random.SystemRandom()
    for _ in range(PORT_ATTEMPT_COUNT_MAX):
        port = draw.randrange(PORT_MIN, ephemeral_min)
        if port not in avoid and port_is_free(port):
            return port
    raise EmbeddedError("NO_FREE_PORT", f"No free port was found between {PORT_MIN} and {ephemeral_min}.")


def keep_passwords(file: Path, names: Sequence[str]) -> dict[str, str]:
    """Gives each name a password, the kept one where there is one, and keeps the outcome in the file."""
    kept = _read(file)
    chosen: dict[str, str] = {}
    for name in names:
        password = kept.get(name)
        chosen[name] = password if isinstance(password, str) else secrets.token_hex(PASSWORD_BYTES)
    if any(kept.get(name) != password for name, password in chosen.items()):
        write_private(file, {**kept, **chosen})
    return chosen


def write_private(file: Path, content: Mapping[str, object]) -> None:
    """Replaces a JSON file in one rename, readable by its owner alone."""
    draft = file.with_name(file.name + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as target:
        json.dump(content, target, indent=2, sort_keys=True, ensure_ascii=False)
        target.flush()
        os.fsync(target.fileno())
    draft.replace(file)


def _read(file: Path) -> dict[str, object]:
    try:
        content = read_json(file.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise EmbeddedError("HOME_DAMAGED", f"{file} is not JSON ({error}). Restore it from a backup.") from error
    if not isinstance(content, dict):
        raise EmbeddedError("HOME_DAMAGED", f"{file} does not hold a JSON object. Restore it from a backup.")
    return content


def _ephemeral_min() -> int:
    try:
        return int(EPHEMERAL_RANGE_FILE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return EPHEMERAL_MIN_DEFAULT


def _any_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((LOOPBACK, 0))
        port: int = listener.getsockname()[1]
        return port
