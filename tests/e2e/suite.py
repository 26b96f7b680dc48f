"""A whole `prosa up` in a home of its own, as a person would start it, and what a person can see of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # no stubs are published with it

from embedded.ports import free_port
from embedded.shapes import source_path

READY_SECONDS = 90.0
STOP_SECONDS = 45.0
COMMAND_SECONDS = 60.0
POLL_SECONDS = 0.05


@dataclass
class Suite:
    """One home, and the `prosa up` that runs on it."""

    home: Path
    http_port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    @property
    def bootstrap_file(self) -> Path:
        """Where the running suite says how to get in."""
        return self.home / "bootstrap.json"

    def environment(self, variables: Mapping[str, str] | None = None) -> dict[str, str]:
        """A shell's environment on this home, without what the developer may have set."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PROSA_", "SMOKE_"))}
        own = {"PYTHONPATH": source_path({}), "PROSA_HOME": str(self.home), "PROSA_HTTP_PORT": str(self.http_port)}
        return {**clean, **own, **(variables or {})}

    async def spawn(self, *words: str, variables: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
        """Starts one `prosa` command."""
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "cli.main", *words),
            env=self.environment(variables),
            cwd=self.home.parent,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *words: str, variables: Mapping[str, str] | None = None) -> tuple[int, str, str]:
        """Runs one `prosa` command to its end; answers its code and what it said."""
        process = await self.spawn(*words, variables=variables)
        async with asyncio.timeout(COMMAND_SECONDS):
            out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def start(self, *words: str) -> dict[str, Any]:
        """Starts `prosa up --json`; answers what it printed when ready."""
        self.process = await self.spawn("up", "--json", *words)
        assert self.process.stdout is not None
        async with asyncio.timeout(READY_SECONDS):
            line = await self.process.stdout.readline()
        if not line:
            _, err = await self.process.communicate()
            raise AssertionError(f"prosa up ended: {err.decode()}")
        content: dict[str, Any] = json.loads(line)
        return content

    async def end(self, number: signal.Signals) -> int:
        """Signals `prosa up` and waits for its end; answers its code."""
        assert self.process is not None
        self.process.send_signal(number)
        async with asyncio.timeout(STOP_SECONDS):
            await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode

    async def close(self) -> None:
        """Leaves nothing behind, whatever the test did."""
        if self.process is not None and self.process.returncode is None:
            await self.end(signal.SIGTERM)

    def bootstrap(self) -> dict[str, Any]:
        """The file, which nobody else may read."""
        assert stat.S_IMODE(self.bootstrap_file.stat().st_mode) == 0o600
        content: dict[str, Any] = json.loads(self.bootstrap_file.read_text(encoding="utf-8"))
        return content

    def processes(self) -> list[psutil.Process]:
        """Every living process that belongs to this home."""
        return [process for process in psutil.process_iter() if self._owns(process)]

    async def until_gone(self) -> None:
        """Waits until no process of the home lives."""
        async with asyncio.timeout(STOP_SECONDS):
            while self.processes():  # noqa: ASYNC110 a killed process has no event to wait for
                await asyncio.sleep(POLL_SECONDS)

    def pid(self, target: str) -> int:
        """The application process that serves the target."""
        for process in self.processes():
            words = _command(process)
            if "serve" in words and target in words[-1].split(","):
                return int(process.pid)
        raise LookupError(target)

    def _owns(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            named = any(str(self.home) in word for word in process.cmdline())
            return named or process.environ().get("PROSA_HOME") == str(self.home)
        except psutil.Error:
            return False


def _command(process: psutil.Process) -> list[str]:
    try:
        words: list[str] = process.cmdline()
    except psutil.Error:
        return []
    return words
