"""The dashboard: the files that `make install` built, each read once, and the one page that all its addresses get."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

import orjson
from aiohttp import web
from aiohttp.hdrs import CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, VARY

from gateway.limits import DASHBOARD_FILE_BYTES_MAX, DASHBOARD_FILES_MAX

BUILT = Path(__file__).resolve().parent.parent / "pages" / "dashboard"
"""Where the build puts it, inside of this package: what installs the gateway brings it along."""
INDEX, PAGES = "index.html", "pages.json"
HASHED = "assets/"
"""Files there carry a hash of their content in their names."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""No script and no style but from our own files, and none inside of the page."""
_FOREVER, _ASK_FIRST = "public, max-age=31536000, immutable", "no-cache"
_COMPRESSED = ("text/", "application/javascript", "application/json", "image/svg+xml")


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    # None where compressing does not pay.
    compressed: bytes | None
    content_type: str
    cache_control: str
    etag: str


class DashboardIncomplete(Exception):
    """The built files are not those of a whole build."""


class Dashboard:
    """Serves the built files. Addresses of pages get the index; every other address stays a 404."""

    def __init__(self, directory: Path) -> None:
        self._files = {path: _read(directory, path) for path in _paths(directory)}
        if INDEX not in self._files or PAGES not in self._files:
            raise DashboardIncomplete(f"{directory} has no {INDEX} or no {PAGES}: run `make install` again.")
        self.pages: tuple[str, ...] = tuple(orjson.loads(self._files.pop(PAGES).body))

    def add_routes(self, app: web.Application) -> None:
        """Registers the root, each page with what lies below it, and each file."""
        for path in ("/", *(f"/{page}" for page in self.pages), *(f"/{page}/{{rest:.+}}" for page in self.pages)):
            app.router.add_get(path, self.index)
        for name in sorted(self._files):
            if "/" not in name and name != INDEX:
                app.router.add_get(f"/{name}", self.file)
        app.router.add_get(f"/{HASHED}{{name}}", self.file)

    async def index(self, request: web.Request) -> web.StreamResponse:
        """The page that loads everything else and shows what its address says."""
        return _answer(request, self._files[INDEX])

    async def file(self, request: web.Request) -> web.StreamResponse:
        """One file of the build."""
        file = self._files.get(request.path.removeprefix("/"))
        if file is None:
            raise web.HTTPNotFound
        return _answer(request, file)


def built_dashboard(directory: Path = BUILT) -> Dashboard | None:
    """Answers the dashboard, or None where none was built. Raises DashboardIncomplete."""
    return Dashboard(directory) if directory.is_dir() else None


def _paths(directory: Path) -> list[str]:
    paths = [str(path.relative_to(directory)) for path in sorted(directory.rglob("*")) if path.is_file()]
    # What hides is the build's own mark.
    paths = [path for path in paths if not path.startswith(".")]
    if len(paths) > DASHBOARD_FILES_MAX:
        raise DashboardIncomplete(f"{directory} has more than {DASHBOARD_FILES_MAX} files: this is no build of ours.")
    return paths


def _read(directory: Path, path: str) -> _File:
    file = directory / path
    if file.stat().st_size > DASHBOARD_FILE_BYTES_MAX:
        raise DashboardIncomplete(f"{file} is larger than {DASHBOARD_FILE_BYTES_MAX} bytes.")
    body = file.read_bytes()
    content_type = mimetypes.types_map.get(file.suffix, "application/octet-stream")
    # Older tables say text, newer ones application.
    content_type = "text/javascript" if file.suffix == ".js" else content_type
    compressed = gzip.compress(body, mtime=0) if content_type.startswith(_COMPRESSED) else None
    return _File(
        body=body,
        compressed=compressed if compressed is not None and len(compressed) < len(body) else None,
        content_type=content_type,
        cache_control=_FOREVER if path.startswith(HASHED) else _ASK_FIRST,
        etag=hashlib.sha256(body).hexdigest()[:32],
    )


def _answer(request: web.Request, file: _File) -> web.Response:
    headers = {ETAG: f'"{file.etag}"', CACHE_CONTROL: file.cache_control, VARY: "Accept-Encoding"}
    if file.content_type == "text/html":
        headers[CONTENT_SECURITY_POLICY] = _POLICY
    if any(tag.value == file.etag for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    body = file.body
    if file.compressed is not None and "gzip" in request.headers.get("Accept-Encoding", "").lower():
        body = file.compressed
        headers[CONTENT_ENCODING] = "gzip"
    charset = "utf-8" if file.content_type.startswith("text/") else None
    return web.Response(body=body, content_type=file.content_type, charset=charset, headers=headers)
