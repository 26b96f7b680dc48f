"""The rules of members: who may change whose role, and that an organization keeps an owner."""

from __future__ import annotations

from chassis.errors import FailedPrecondition, PermissionDenied

OWNER = "OWNER"


def check_given(own: int | None, given: int) -> None:
    """Raises PermissionDenied ROLE_ABOVE_OWN where somebody gives more than they are; the operator is None."""
    if own is not None and given > own:
        raise PermissionDenied("ROLE_ABOVE_OWN", "Nobody gives a role above their own.")


def check_taken(own: int | None, held: int) -> None:
    """Raises PermissionDenied ROLE_ABOVE_OWN where somebody takes a role that is above their own."""
    if own is not None and held > own:
        raise PermissionDenied("ROLE_ABOVE_OWN", "Nobody takes a role above their own.")


def check_owner_left(held: str, after: str, owners: int) -> None:
    """Raises FailedPrecondition LAST_OWNER where of so many owners none would be left; no role is empty."""
    if held == OWNER and after != OWNER and owners <= 1:
        raise FailedPrecondition("LAST_OWNER", "An organization keeps an owner. Make somebody else one first.")
