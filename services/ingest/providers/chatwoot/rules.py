"""What Chatwoot asks of its connections. No I/O."""

from __future__ import annotations

from chassis.errors import FieldViolation, InvalidArgument


def account_id(given: int) -> int:
    """The account's number. Raises InvalidArgument ACCOUNT_ID_MISSING."""
    if not given:
        raise InvalidArgument(
            "ACCOUNT_ID_MISSING",
            "account_id is missing. It is the number in the address of Chatwoot's pages: /app/accounts/<id>.",
            violations=[FieldViolation("account_id", "must be the account's number, above 0")],
        )
    return given
