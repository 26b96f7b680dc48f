"""Runs the fake as a process: `python -m sandbox.n8n --port 5678`, with the secret in PROSA_SANDBOX_SECRET."""

import argparse
import os
import time

from aiohttp import web

from sandbox.n8n.app import Receiver, make_app


def main() -> None:
    """Listens until it is stopped."""
    parser = argparse.ArgumentParser(prog="sandbox.n8n", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5678)
    parser.add_argument("--path", action="append", help="a published webhook's path, several times for several")
    given = parser.parse_args()
    receiver = Receiver(os.environ.get("PROSA_SANDBOX_SECRET", ""), set(given.path or ["prosa"]))
    web.run_app(make_app(receiver, time.time), host=given.host, port=given.port)


if __name__ == "__main__":
    main()
