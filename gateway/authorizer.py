"""Who may watch: the live stream is served from here, so its callers are checked here, as the services check theirs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from chassis.auth import Revocations, TokenVerifier, check_audience
from chassis.errors import InvalidArgument, PermissionDenied, Unavailable
from chassis.interceptors import permission_of
from gateway.credentials import Subscriber


class TokenAuthorizer:
    """Admits callers by their token and the permission that an RPC's contract declares."""

    def __init__(self, verifier: TokenVerifier, revocations: Revocations) -> None:
        self._verifier = verifier
        self._revocations = revocations

    def admit(self, token: str, rpc_path: str) -> Subscriber:
        """Answers whose token it is. Raises Unauthenticated, PermissionDenied, or Unavailable REVOCATIONS_UNKNOWN."""
        caller = self._verifier.verify(token)
        check_audience(rpc_path, caller)
        if caller.kind != "service":
            self._revocations.check(caller)
            if self._revocations.outdated:
                raise Unavailable("REVOCATIONS_UNKNOWN", "Revoked keys cannot be told from valid ones just now.")
        permission = permission_of(rpc_path)
        if permission is None:
            raise PermissionDenied("PERMISSION_UNDECLARED", f"{rpc_path} declares no permission.")
        self._verifier.check_permission(permission, caller)
        if caller.organization_id is None:
            raise InvalidArgument("ORGANIZATION_MISSING", "The call must be made for one organization.")
        return Subscriber(caller.organization_id, datetime.fromtimestamp(caller.expire_time, UTC))

    def listen(self, heard: Callable[[], None]) -> None:
        """``heard`` is called when something was revoked."""
        self._revocations.listen(heard)

    def account(self, token: str, rpc_path: str) -> str:
        """Answers the organization of a token that can be believed and may call the RPC, else the principal.

        Raises what the service would say, Unauthenticated or PermissionDenied; without a word in the contract the
        service has it.
        """
        caller = self._verifier.verify(token)
        self._revocations.check(caller)
        permission = permission_of(rpc_path)
        if permission is not None:
            self._verifier.check_permission(permission, caller)
        return str(caller.organization_id or caller.principal)
