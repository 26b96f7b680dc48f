"""The home of `prosa up`: one directory, one suite at a time, with space to write."""

import errno
import fcntl
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Self

from embedded.errors import EmbeddedError

FREE_MIN_BYTES = 512 * 1024 * 1024
MEBIBYTE = 1024 * 1024
ALL_ADDRESSES = "0.0.0.0"  # noqa: S104 asked whether it is free, never listened on


def disk_free_bytes(directory: Path) -> int:
    """How much this user may still write to the directory's file system."""
    return shutil.disk_usage(directory).free


class Home:
    """A locked home directory. The lock ends with the process, however that ends."""

    def __init__(self, directory: Path, lock: BinaryIO) -> None:
        self.directory = directory
        self._lock = lock

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        free_bytes: Callable[[Path], int] = disk_free_bytes,
        free_min_bytes: int = FREE_MIN_BYTES,
    ) -> Self:
        """Makes the directory if needed and locks it.

        Raises EmbeddedError HOME_UNUSABLE, HOME_IN_USE or DISK_FULL.
        """
        directory = directory.expanduser().absolute()
        try:
            # Root's PostgreSQL is another user, who must walk through; what lies in it is private all the same.
            directory.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
            lock = open(directory / "lock", "a+b", opener=_private)  # noqa: SIM115 held until close
        except OSError as error:
            raise EmbeddedError(
                "HOME_UNUSABLE", f"The home {directory} cannot be used ({error.strerror}). Choose another with --home."
            ) from error
        try:
            _lock(lock, directory)
            _require_space(directory, free_bytes, free_min_bytes)
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n".encode())
            lock.flush()
        except BaseException:
            lock.close()
            raise
        return cls(directory, lock)

    def close(self) -> None:
        """Lets another suite have the directory."""
        self._lock.close()


def require_http_port(port: int) -> None:
    """Raises EmbeddedError HTTP_PORT_TAKEN or HTTP_PORT_FORBIDDEN when nobody could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            # A listener on any one address is in the way of this, so the answer holds whichever address is used later.
            listener.bind((ALL_ADDRESSES, port))
        except OSError as error:
            if error.errno == errno.EACCES:
                raise EmbeddedError(
                    "HTTP_PORT_FORBIDDEN",
                    f"Port {port} needs more rights than this user has. Choose one above 1023 with --http-port or "
                    "PROSA_HTTP_PORT.",
                ) from error
            raise EmbeddedError(
                "HTTP_PORT_TAKEN",
                f"Port {port} is taken by another program. Stop that one, or choose another port with --http-port or "
                "PROSA_HTTP_PORT.",
            ) from error


def _lock(lock: BinaryIO, directory: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        holder = lock.read(32).decode(errors="replace").strip() or "unknown"
        raise EmbeddedError(
            "HOME_IN_USE",
            f"Another prosa up runs on this home (pid {holder}): {directory}. Stop it, or choose another with --home.",
        ) from error


def _require_space(directory: Path, free_bytes: Callable[[Path], int], free_min_bytes: int) -> None:
    free = free_bytes(directory)
    if free < free_min_bytes:
        raise EmbeddedError(
            "DISK_FULL",
            f"The disk of {directory} has {free // MEBIBYTE} MiB free, and at least {free_min_bytes // MEBIBYTE} MiB "
            "are needed. Free some space, or choose a home on another disk with --home.",
        )


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
