"""A suite with real servers and fake applications: `run_suite.py HOME HTTP_PORT` says `ready` or why not."""

import asyncio
import sys
from pathlib import Path

from embedded.errors import EmbeddedError
from embedded.shapes import Shape
from embedded.suite import Suite
from tests.integration.embedded.fakes import fake_app


async def say_ready(suite: Suite) -> None:
    suite.bootstrap_file.write_text("{}")
    print("ready", flush=True)


async def main(home: Path, http_port: int) -> int:
    suite = Suite(home, http_port, Shape.RECEIVER, command=fake_app, on_ready=say_ready, durable=False)
    try:
        await suite.run()
    except EmbeddedError as refusal:
        print(refusal.reason, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]))))
