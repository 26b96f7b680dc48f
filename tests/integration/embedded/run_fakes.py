"""A supervisor to be killed: `run_fakes.py DIRECTORY` runs two fake children and says `ready`."""

import asyncio
import sys
from pathlib import Path

from chassis.embedded.supervisor import StopSignals, Supervisor
from tests.integration.embedded.fakes import fake_child


async def main(directory: Path) -> None:
    supervisor = Supervisor(directory, [fake_child(directory, "one"), fake_child(directory, "two", "parent")])
    with StopSignals(supervisor.kill_all) as signals:
        await supervisor.start()
        print("ready", flush=True)
        await signals.asked.wait()
        await supervisor.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
