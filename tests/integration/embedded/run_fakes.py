"""A supervisor to be killed: `run_fakes.py DIRECTORY [HABIT...]` runs two fake children and says `ready`."""

import signal
import sys
from pathlib import Path

import uvloop

from embedded.supervisor import StopSignals, Supervisor
from tests.integration.embedded.fakes import fake_child


async def main(directory: Path, habits: list[str]) -> None:
    specs = [fake_child(directory, "one"), fake_child(directory, "two", *habits, stop_timeout_seconds=60)]
    supervisor = Supervisor(directory, specs)
    with StopSignals(supervisor.kill_all) as signals:
        await supervisor.start()
        print("ready", flush=True)
        await signals.asked.wait()
        await supervisor.stop()


if __name__ == "__main__":
    # As from a terminal, also when the tests themselves run under nohup.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    uvloop.run(main(Path(sys.argv[1]), sys.argv[2:]))
