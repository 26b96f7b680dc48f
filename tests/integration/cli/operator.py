"""An operator at a terminal: the `prosa` command as a process of its own, beside the test's world."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedded.shapes import source_path
from tests.integration.cli.forking import needs_an_interpreter, run_forked

COMMAND_SECONDS = 60.0


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as the one JSON document that it must be."""
        assert self.out, f"nothing but an error ({self.code}): {self.err}"
        return json.loads(self.out)


@dataclass(frozen=True)
class Operator:
    """Types commands with an environment."""

    environment: Mapping[str, str]
    directory: Path

    async def start(
        self, *words: str, output: int = asyncio.subprocess.PIPE, typed: str = "", **variables: str
    ) -> asyncio.subprocess.Process:
        """Begins a command, for who ends it otherwise than by waiting, or reads its output elsewhere.

        What is typed lies in its standard input before it starts: uvloop raises where it is still to be written when
        the command, which need not read it, has already ended.
        """
        with tempfile.TemporaryFile() as keyboard:
            keyboard.write(typed.encode())
            keyboard.seek(0)
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "cli.main", *words),
                env=self._variables(variables),
                cwd=self.directory,
                stdin=keyboard,
                stdout=output,
                stderr=asyncio.subprocess.PIPE,
            )

    async def prosa(self, *words: str, typed: str = "", **variables: str) -> Said:
        """Runs one command to its end: in a fork, where that is no other command than from the start."""
        if needs_an_interpreter(words, variables):
            return await self.prosa_from_the_start(*words, typed=typed, **variables)
        with tempfile.TemporaryDirectory() as folder:
            streams = [Path(folder, name) for name in ("in", "out", "err")]
            for path in streams:
                path.touch()
            streams[0].write_text(typed)
            code = await run_forked(words, self._variables(variables), self.directory, streams, COMMAND_SECONDS)
            return Said(code, streams[1].read_text(), streams[2].read_text())

    async def prosa_from_the_start(self, *words: str, typed: str = "", **variables: str) -> Said:
        """Runs one command to its end in an interpreter of its own, as a terminal does."""
        process = await self.start(*words, output=asyncio.subprocess.PIPE, typed=typed, **variables)
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return Said(process.returncode, out.decode(), err.decode())

    def _variables(self, added: Mapping[str, str]) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PROSA_", "SMOKE_"))}
        return {**clean, "PYTHONPATH": source_path({}), **self.environment, **added}
