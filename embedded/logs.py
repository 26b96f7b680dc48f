"""The children's output: one file each in the home, bounded in size."""

import os
import shutil
from pathlib import Path
from typing import BinaryIO

SIZE_MAX_BYTES = 16 * 1024 * 1024
TAIL_BYTES = 16 * 1024


class LogFiles:
    """`<name>.log` of each child, and `<name>.log.1` with what came before it."""

    def __init__(self, directory: Path, size_max_bytes: int = SIZE_MAX_BYTES) -> None:
        self._directory = directory
        self._size_max_bytes = size_max_bytes

    def open(self) -> None:
        """Makes the directory if it is not there."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def append(self, name: str) -> BinaryIO:
        """Opens the child's file so that each write goes to its end, wherever that is by then."""
        self.bound([name])
        return open(self.path(name), "ab", opener=_private)

    def bound(self, names: list[str]) -> None:
        """Moves what is too large aside. The file is emptied, not renamed, because its child holds it open."""
        for name in names:
            path = self.path(name)
            if path.exists() and path.stat().st_size > self._size_max_bytes:
                shutil.copyfile(path, path.with_name(path.name + ".1"))
                with path.open("r+b") as file:
                    file.truncate(0)

    def tail(self, name: str, lines: int) -> str:
        """The last lines of the child's output."""
        try:
            with self.path(name).open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
                return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    def path(self, name: str) -> Path:
        """Where the child's output goes."""
        return self._directory / f"{name}.log"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
