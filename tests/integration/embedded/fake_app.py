"""An application process that only answers /readyz: `fake_app.py NAME PORT`. Writes its environment into its home."""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()


if __name__ == "__main__":
    home = Path(os.environ["PROSA_HOME"])
    (home / f"{sys.argv[1]}.environment.json").write_text(json.dumps(dict(os.environ)))
    HTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
