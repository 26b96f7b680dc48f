"""Who may change whose role, and that an organization keeps an owner."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chassis.errors import ProsaError
from prosa.v1.options_pb2 import ROLE_ADMIN, ROLE_AGENT, ROLE_OWNER, ROLE_VIEWER
from services.identity.access.member_domain import check_given, check_owner_left, check_taken

ROLES = (ROLE_VIEWER, ROLE_AGENT, ROLE_ADMIN, ROLE_OWNER)


@pytest.mark.parametrize("check", [check_given, check_taken])
@pytest.mark.parametrize("own", ROLES)
@pytest.mark.parametrize("other", ROLES)
def test_nobody_gives_or_takes_a_role_above_their_own(
    check: Callable[[int | None, int], None], own: int, other: int
) -> None:
    check(None, other)
    if other <= own:
        check(own, other)
        return
    with pytest.raises(ProsaError) as refused:
        check(own, other)
    assert refused.value.reason == "ROLE_ABOVE_OWN"


@pytest.mark.parametrize("after", ["ADMIN", ""])
def test_the_last_owner_stays_one(after: str) -> None:
    with pytest.raises(ProsaError) as refused:
        check_owner_left("OWNER", after, 1)
    assert refused.value.reason == "LAST_OWNER"
    check_owner_left("OWNER", after, 2)
    check_owner_left("OWNER", "OWNER", 1)
    check_owner_left("ADMIN", after, 1)
