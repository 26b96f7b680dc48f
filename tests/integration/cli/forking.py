"""The `prosa` command in a fork of a process that has imported it already.

It is a process like any other, with its own arguments, environment, folder, input and output, and it ends by its own
code. Only the second that an interpreter needs to import everything is spent once for all commands of a test worker,
and not for each.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path

from cli.main import NOUNS, main

SERVERS = frozenset({"serve", "up"})
"""They import every service, which no other command needs."""
READ_AT_START = ("PYTHON", "LC_", "LANG")
"""What variables of the interpreter and of its locale begin with: they mean nothing to one that runs."""


def needs_an_interpreter(words: Sequence[str], variables: Mapping[str, str]) -> bool:
    """Whether a command is another one in a fork: a server, or one whose variables are read before any code of ours."""
    return bool(SERVERS & set(words[:1])) or any(name.startswith(READ_AT_START) for name in variables)


async def run_forked(
    words: Sequence[str], environment: Mapping[str, str], directory: Path, streams: Sequence[Path], seconds: float
) -> int:
    """Runs a command to its end with the files as its standard streams; answers its code. Raises TimeoutError."""
    process = _context().Process(
        target=_command, args=(list(words), dict(environment), str(directory), [str(path) for path in streams])
    )
    # The first waits for the imports, and the services it is about to call may run in this very process.
    await asyncio.to_thread(process.start)
    try:
        await asyncio.to_thread(process.join, seconds)
        if process.exitcode is None:
            raise TimeoutError(f"`prosa {' '.join(words)}` has not ended within {seconds:g} s.")
        return process.exitcode
    finally:
        if process.exitcode is None:
            process.kill()
            process.join()
        process.close()


@cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    modules = {place.partition(":")[0] for noun, place in NOUNS.items() if noun not in SERVERS}
    context.set_forkserver_preload([__name__, *sorted(modules)])
    return context


def _command(words: list[str], environment: dict[str, str], directory: str, streams: list[str]) -> None:
    for number, path in enumerate(streams):
        opened = os.open(path, os.O_RDWR)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - it is the process's own, until its end
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    sys.argv[:] = ["prosa", *words]
    main()
