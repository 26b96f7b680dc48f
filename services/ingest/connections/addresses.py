"""Where a number's Evolution may be."""

from __future__ import annotations

from chassis.errors import FailedPrecondition, FieldViolation, InvalidArgument
from chassis.outgoing import Outgoing
from services.ingest.connections.rules import base_url


def number_address(text: str, outgoing: Outgoing) -> str:
    """The address of a number's Evolution, in its one spelling.

    Raises InvalidArgument BASE_URL_INVALID and FailedPrecondition ADDRESS_PRIVATE: now, where it can be said of the
    address alone; later it would only seem to be away.
    """
    address = base_url(text)
    if not address:
        raise InvalidArgument(
            "BASE_URL_INVALID",
            "A number has an Evolution. Name its address, such as https://evolution.example.com.",
            violations=[FieldViolation("base_url", "must not be empty")],
        )
    if outgoing.refuses(outgoing.read(address)):
        raise FailedPrecondition(
            "ADDRESS_PRIVATE",
            "base_url leads into a private network. Name a public address, or let the operator list the host in "
            "PROSA_ALLOWED_HOSTS (host:port), as where Evolution runs on the same machine.",
        )
    return address
