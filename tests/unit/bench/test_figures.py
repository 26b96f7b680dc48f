"""A figure's ratio and verdict."""

import pytest

from bench.figures import Figure, at_least, at_most


def test_a_ratio_is_the_median_of_the_runs_own() -> None:
    figure = Figure("x", "us", [1.0, 9.0, 2.0], [1.0, 3.0, 4.0])
    assert figure.ratio == pytest.approx(1.0)


def test_of_several_series_it_is_the_median_of_their_medians() -> None:
    # Medians 1, 3 and 1.05; all nine together would have 2.
    ratios = [1.0, 1.0, 5.0, 2.0, 3.0, 4.0, 1.05, 1.0, 9.0]
    figure = Figure("x", "us", ratios, [1.0] * 9, [at_most(1.05, must=True)], series=3)
    assert figure.ratio == pytest.approx(1.05)
    assert figure.verdict == "held"
    assert Figure("x", "us", ratios, [1.0] * 9, [at_most(1.05, must=True)]).verdict == "FAILED"


def test_series_are_of_one_length() -> None:
    figure = Figure("x", "us", [1.0] * 4, [1.0] * 4, series=3)
    with pytest.raises(ValueError, match="4 runs make no 3 series"):
        _ = figure.ratio


@pytest.mark.parametrize(("value", "verdict"), [(0.5, "held"), (0.4, "missed"), (0.3, "FAILED")])
def test_a_must_fails_and_a_goal_is_missed(value: float, verdict: str) -> None:
    bounds = [at_least(0.35, must=True), at_least(0.5)]
    assert Figure("x", "/s", [value], [1.0], bounds).verdict == verdict
