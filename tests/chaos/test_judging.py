"""The crash test's own eyes: what it must see as wrong, and what it must excuse."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from embedded.shapes import Shape
from tests.chaos.correspondence import Correspondence, Said, draw_correspondences
from tests.chaos.invariants import answers_in_time, behind_others, processes_lived, unlike
from tests.chaos.plan import Kind, draw_plan, draw_short_plan, processes_of
from tests.chaos.sender import Answer, Outages

NOON = datetime(2026, 7, 20, 12, tzinfo=UTC)
FIRST, SECOND = Said("1", "one", inbound=True), Said("2", "two", inbound=False)


def outages(*spans: tuple[float, float]) -> Outages:
    return Outages(list(spans))


@pytest.mark.parametrize("shape", list(Shape))
def test_a_seed_draws_one_plan_with_every_kind_on_every_process(shape: Shape) -> None:
    plan = draw_plan(7, 60, shape)
    assert plan == draw_plan(7, 60, shape)
    done = {(fault.kind, fault.target) for fault in plan}
    assert {(kind, target) for kind in (Kind.KILL, Kind.FREEZE) for target in processes_of(shape)} <= done
    assert {(Kind.STORE_DELETED, "nats"), (Kind.STORE_PUT_BACK, "nats")} <= done


@pytest.mark.parametrize("seed", range(20))
def test_the_short_plan_has_one_fault_of_each_of_four_kinds(seed: int) -> None:
    kinds = sorted(fault.kind for fault in draw_short_plan(seed, Shape.SERVICES))
    assert kinds == sorted([Kind.KILL, Kind.FREEZE, Kind.STORE_DELETED, Kind.STORE_PUT_BACK])


def test_a_seed_draws_the_same_bodies_and_at_least_as_many_as_asked_for() -> None:
    drawn = draw_correspondences(3, 200, NOON)
    bodies = [letter.body for item in drawn for letter in item.letters]
    assert bodies == [letter.body for item in draw_correspondences(3, 200, NOON) for letter in item.letters]
    assert len(bodies) >= 200
    assert len({said.text for item in drawn for said in item.said}) == sum(len(item.said) for item in drawn)


@pytest.mark.parametrize(
    ("answer", "holds"),
    [
        (Answer(10.0, 10.1, 200, False, ""), [True, True]),
        (Answer(10.0, 13.0, 503, True, ""), [True, True]),
        (Answer(10.0, 13.0, 503, False, ""), [False, True]),
        (Answer(10.0, 10.1, 500, True, ""), [False, True]),
        (Answer(10.0, 10.1, None, False, "ClientConnectorError"), [False, True]),
        (Answer(10.0, 14.1, 200, False, ""), [True, False]),
    ],
)
def test_the_gateway_may_say_200_or_503_within_four_seconds(answer: Answer, holds: Sequence[bool]) -> None:
    assert [check.holds for check in answers_in_time([answer], outages((1.0, 9.9), (14.2, 20.0)))] == holds
    # While its own process is away, nothing is asked of it.
    assert [check.holds for check in answers_in_time([answer], outages((9.0, 10.05)))] == [True, True]


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        ({"1": [FIRST, SECOND]}, 0),
        ({"1": [FIRST]}, 1),
        ({}, 1),
        ({"1": [SECOND, FIRST]}, 1),
        ({"1": [FIRST, SECOND, SECOND]}, 1),
        ({"1": [FIRST, FIRST, SECOND]}, 1),
        ({"1": [FIRST, SECOND], "2": [FIRST]}, 1),
    ],
)
def test_what_is_missing_out_of_order_or_there_twice_is_seen(found: dict[str, list[Said]], wrong: int) -> None:
    sent = [Correspondence("WHATSAPP", "+5511900000001", "1", said=[FIRST, SECOND])]
    assert len(unlike(found, sent)) == wrong


@pytest.mark.parametrize(
    ("transactions", "behind"),
    [([7, 7, 9, 12], []), ([], []), ([7, 9, 8, 12], [2]), ([9, 9, 8, 8], [1, 2])],
)
def test_a_position_that_was_filled_behind_a_reader_is_seen(transactions: list[int], behind: list[int]) -> None:
    feed = [{"position": place, "transaction": number} for place, number in enumerate(transactions, start=1)]
    assert behind_others(feed) == behind


def test_a_process_that_died_without_being_killed_is_seen() -> None:
    assert processes_lived({"crm": 2}, {"crm": 2}).holds
    assert not processes_lived({"crm": 2, "identity": 1}, {"crm": 2}).holds
