"""Which contacts get the identity of their phone, and which are left to people."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.identity.contacts.backfill_domain import Batch, Claims, Standing
from services.identity.contacts.domain import WHATSAPP, Identity

ANA, RUI, EVA = (UUID(int=number) for number in (1, 2, 3))
PHONE = "+5511900004821"


def identity_of(contact_id: UUID) -> Identity:
    return Identity(UUID(int=9), contact_id, WHATSAPP, PHONE, "", datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("claims", "standing"),
    [
        (Claims(holders=(ANA,)), Standing.CREATED),
        # People have decided before, and the other one's phone was corrected.
        (Claims(holders=(ANA,), reported={ANA, RUI}), Standing.CREATED),
        (Claims(holders=(ANA, RUI)), Standing.CONFLICTING),
        (Claims(owner=identity_of(ANA), holders=(ANA,)), Standing.EXISTING),
        (Claims(owner=identity_of(ANA), holders=(ANA, RUI)), Standing.EXISTING),
        (Claims(owner=identity_of(RUI), holders=(ANA,)), Standing.CONFLICTING),
    ],
)
def test_a_phone_is_a_contacts_own_only_where_nobody_else_could_be_meant(claims: Claims, standing: Standing) -> None:
    assert claims.standing(ANA) is standing


@pytest.mark.parametrize(
    ("claims", "unasked"),
    [
        (Claims(holders=(ANA, RUI)), True),
        (Claims(holders=(ANA, RUI), reported={ANA, RUI}), False),
        (Claims(holders=(ANA, RUI, EVA), reported={ANA, RUI}), True),
        (Claims(owner=identity_of(RUI), holders=(ANA,)), True),
        (Claims(owner=identity_of(RUI), holders=(ANA,), reported={ANA}), False),
    ],
)
def test_people_are_asked_once_about_everybody_who_could_be_meant(claims: Claims, unasked: bool) -> None:
    assert claims.unasked() is unasked


def test_whoever_has_the_identity_is_the_first_candidate() -> None:
    assert Claims(owner=identity_of(RUI), holders=(ANA, RUI)).candidates() == (RUI, ANA)


def test_an_owner_in_a_batch_leaves_the_question_to_the_batch_of_the_other() -> None:
    claims = {PHONE: Claims(owner=identity_of(ANA), holders=(ANA, RUI))}
    alone, other = Batch(phones={ANA: PHONE}, claims=claims), Batch(phones={RUI: PHONE}, claims=claims)
    alone.stand()
    other.stand()
    assert (alone.changing(), other.changing()) == ([], [PHONE])
