"""People in browsers: the session's cookie, and what keeps a page of somebody else from writing with it.

A browser sends the cookie by itself, whatever page made it call. So a write by cookie must name its own page as the
caller (Origin), and repeat a token that only that page can have read (X-Prosa-Csrf).
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

from aiohttp import web
from multidict import istr

from chassis.errors import PermissionDenied, ProsaError, Unauthenticated
from gateway.credentials import Exchanged
from gateway.limits import SESSION_COOKIE_SECONDS, SESSION_SECRET_LENGTH_MAX
from gateway.listening.peers import Peers
from prosa.identity.v1.session_service_pb2 import ExchangedSession

ExchangeSession = Callable[[str], Awaitable[ExchangedSession]]
"""Calls identity.ExchangeSession with a cookie's secret."""

SECURE_COOKIE = "__Host-prosa_session"
"""Kept by browsers only as this very host set it, over TLS: no neighbour can plant one."""
PLAIN_COOKIE = "prosa_session"
"""On this machine without TLS, where browsers take no cookie that asks for it."""
CSRF_HEADER = istr("X-Prosa-Csrf")
END = "-"
"""In the place of a secret: the cookie ends."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_ORIGIN, _FETCH_SITE, _FORWARDED_PROTO = istr("Origin"), istr("Sec-Fetch-Site"), istr("X-Forwarded-Proto")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_PORT = re.compile(r":[0-9]{1,5}$")


class Sessions:
    """Reads and writes the cookie of a session, and judges what comes with it."""

    def __init__(self, exchange: ExchangeSession, peers: Peers) -> None:
        self._exchanged: Exchanged[ExchangedSession] = Exchanged(
            exchange, lambda found: found.token.expires_in, _session_ended
        )
        self._peers = peers

    async def token(self, request: web.Request) -> str | None:
        """Answers the token that the request's cookie stands for; None where it brings none.

        Raises Unauthenticated SESSION_ENDED, and PermissionDenied CSRF_INVALID for a write that is not the page's own.
        """
        secret = self.secret(request)
        if not secret:
            return None
        if request.method not in SAFE_METHODS:
            self.refuse_foreign_write(request)
        found = await self._of(secret)
        if request.method not in SAFE_METHODS:
            _check_csrf(request, found)
        return found.token.access_token

    async def check_end(self, request: web.Request) -> None:
        """Lets a request through that ends its cookie's session: the page's own, or one whose session has ended.

        Raises PermissionDenied CSRF_INVALID.
        """
        self.refuse_foreign_write(request)
        secret = self.secret(request)
        if not secret:
            return
        try:
            found = await self._of(secret)
        except Unauthenticated:
            return
        _check_csrf(request, found)

    def secret(self, request: web.Request) -> str:
        """Answers what the request's cookie holds; empty where it brings none."""
        if "Cookie" not in request.headers:
            return ""
        name = SECURE_COOKIE if self._scheme(request) == "https" else PLAIN_COOKIE
        return request.cookies.get(name, "")

    def refuse_open_line(self, request: web.Request) -> None:
        """Raises PermissionDenied TLS_REQUIRED where a cookie that is set would travel in clear past this machine."""
        if self._scheme(request) == "https" or _is_this_machine(request.host):
            return
        raise PermissionDenied(
            "TLS_REQUIRED",
            "People sign in over https only, or on this machine. Use the address with https; its proxy must be named "
            "in PROSA_TRUSTED_PROXIES.",
        )

    def refuse_foreign_write(self, request: web.Request) -> None:
        """Raises PermissionDenied CSRF_INVALID unless the browser says that this site's own page makes the request."""
        self.refuse_foreign(request)
        if _ORIGIN not in request.headers and _FETCH_SITE not in request.headers:
            raise _csrf_invalid("The request does not say which page makes it: send Origin with this very address.")

    def refuse_foreign(self, request: web.Request) -> None:
        """Raises PermissionDenied CSRF_INVALID where the browser says that another site's page makes the request."""
        own = f"{self._scheme(request)}://{request.host}"
        origins = request.headers.getall(_ORIGIN, ())
        if any(_spelt_out(origin) != _spelt_out(own) for origin in origins):
            raise _csrf_invalid(f"The request comes from a page of another address than {own}.")
        if any(site.strip().lower() != "same-origin" for site in request.headers.getall(_FETCH_SITE, ())):
            raise _csrf_invalid("The request comes from a page of another site.")

    def write(self, request: web.Request, response: web.Response, secret: str) -> None:
        """Sets the cookie, or ends it; an empty secret leaves it as it is."""
        if not secret:
            return
        before = self.secret(request)
        if before:
            # It stands for something else from now on, or for nothing.
            self._exchanged.forget(before)
        secure = self._scheme(request) == "https"
        name = SECURE_COOKIE if secure else PLAIN_COOKIE
        ended = secret == END
        response.set_cookie(
            name,
            "" if ended else secret,
            max_age=0 if ended else SESSION_COOKIE_SECONDS,
            path="/",
            secure=secure,
            httponly=True,
            # Not Strict: a link in a mail must find the session.
            samesite="Lax",
        )

    def forget(self, request: web.Request) -> None:
        """Drops what is remembered of the request's cookie: its token was just refused."""
        secret = self.secret(request)
        if secret:
            self._exchanged.forget(secret)

    async def _of(self, secret: str) -> ExchangedSession:
        if len(secret) > SESSION_SECRET_LENGTH_MAX:
            raise _session_ended()
        return await self._exchanged.of(secret)

    def _scheme(self, request: web.Request) -> str:
        """Answers how the browser reaches us: a trusted proxy says it, and ends TLS where it says nothing."""
        if request.secure:
            return "https"
        if self._peers.is_proxy(request.remote or ""):
            said = request.headers.get(_FORWARDED_PROTO, "https").rpartition(",")[2].strip().lower()
            return "http" if said == "http" else "https"
        return "http"


def _check_csrf(request: web.Request, found: ExchangedSession) -> None:
    given = request.headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(given.encode("utf-8", "replace"), found.csrf_token.encode()):
        raise _csrf_invalid("Send the session's csrf_token in X-Prosa-Csrf; GET /api/v1/session answers it.")


def _spelt_out(origin: str) -> str:
    """An origin with its port, in small letters: http://localhost and http://localhost:80 are one."""
    scheme, _, host = origin.strip().lower().partition("://")
    return f"{scheme}://{host}" if _PORT.search(host) else f"{scheme}://{host}:{_DEFAULT_PORTS.get(scheme, '')}"


def _is_this_machine(host: str) -> bool:
    name = _PORT.sub("", host.lower()).strip("[]")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _csrf_invalid(message: str) -> ProsaError:
    return PermissionDenied("CSRF_INVALID", message)


def _session_ended() -> ProsaError:
    return Unauthenticated("SESSION_ENDED", "The session has ended. Sign in again.")
