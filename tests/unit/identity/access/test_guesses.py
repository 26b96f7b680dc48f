"""Places to guess from: how many, and for how long a wrong guess keeps its own."""

from __future__ import annotations

import pytest

from chassis.errors import ResourceExhausted
from services.identity.access.guesses import DELAY_SECONDS_MAX, NETWORKS_MAX, Places, delay_seconds

pytestmark = pytest.mark.case("S9")
HERE, THERE = "192.0.2.0/24", "198.51.100.0/24"


class Time:
    """A clock that stands until it is moved."""

    now = 100.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def places(time: Time, *, total: int = 100, per_network: int = 2, failures_free: int = 3) -> Places:
    """Places with small limits."""
    return Places(
        refusal=lambda seconds: ResourceExhausted("LIMITED", "Wait.", retry_after_seconds=str(seconds)),
        total=total,
        per_network=per_network,
        failures_free=failures_free,
        window_seconds=60.0,
        monotonic=time,
    )


def guess_wrong(tried: Places, network: str = HERE) -> float:
    """One wrong guess; its delay."""
    with tried.take(network) as place:
        return tried.wrong(network, place)


def test_wrong_guesses_take_longer_each_time_up_to_a_bound() -> None:
    assert [delay_seconds(failures, 3) for failures in range(1, 9)] == [0, 0, 0, 0.5, 1.0, 2.0, 4.0, 4.0]
    assert delay_seconds(10**9, 3) == DELAY_SECONDS_MAX


def test_a_wrong_guess_keeps_its_place_though_its_caller_has_gone() -> None:
    time = Time()
    tried = places(time)
    assert [guess_wrong(tried) for _ in range(5)] == [0, 0, 0, 0.5, 1.0]
    with pytest.raises(ResourceExhausted) as refused, tried.take(HERE):
        pass
    assert refused.value.metadata == {"retry_after_seconds": "1"}
    # Nobody else waits for it.
    assert guess_wrong(tried, THERE) == 0
    time.now += 0.5
    assert guess_wrong(tried) == 2.0


def test_right_guesses_keep_nothing() -> None:
    tried = places(Time())
    for _ in range(50):
        with tried.take(HERE):
            pass
    with tried.take(HERE), tried.take(HERE), pytest.raises(ResourceExhausted), tried.take(HERE):
        pass


def test_slow_answers_hold_their_network_only_and_nobody_else() -> None:
    tried = places(Time(), total=2)
    for _ in range(5):
        guess_wrong(tried)
    with tried.take(THERE), tried.take(THERE), pytest.raises(ResourceExhausted), tried.take("203.0.113.0/24"):
        pass
    with tried.take("203.0.113.0/24"):
        pass


def test_failures_are_forgotten_once_their_window_is_over() -> None:
    time = Time()
    tried = places(time)
    for _ in range(4):
        guess_wrong(tried)
    time.now += 60
    assert guess_wrong(tried) == 0


def test_no_more_networks_are_remembered_than_there_is_place_for() -> None:
    tried = places(Time(), failures_free=0)
    assert [guess_wrong(tried), guess_wrong(tried)] == [0.5, 1.0]
    for number in range(NETWORKS_MAX):
        guess_wrong(tried, f"network {number}")
    assert guess_wrong(tried) == 0.5
