"""A child that does nothing but show that it runs: `fake_child.py DIRECTORY NAME [stubborn] [parent] [fails]`."""

import os
import signal
import subprocess
import sys
from pathlib import Path


def main(directory: Path, name: str, habits: list[str]) -> None:
    if "fails" in habits:
        print(f"{name} cannot work like this", flush=True)
        sys.exit(3)

    def leave(*_: object) -> None:
        with (directory / "ended").open("a") as ended:
            ended.write(name + "\n")
        sys.exit(0)

    signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in habits else leave)
    if "parent" in habits:
        grandchild = subprocess.Popen([sys.executable, "-I", "-S", __file__, str(directory), f"{name}-grandchild"])
        (directory / f"{name}.grandchild").write_text(str(grandchild.pid))
    with (directory / "started").open("a") as started:
        started.write(name + "\n")
    print(f"{name} runs as {os.getpid()}", flush=True)
    # Whoever waits for the file reads it at once: it is never there without its content.
    draft = directory / f"{name}.draft"
    draft.write_text(str(os.getpid()))
    draft.rename(directory / f"{name}.ready")
    while True:
        signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
