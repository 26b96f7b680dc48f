"""Processor time a webhook: who is counted, and what a must on rates comes to."""

import os
import subprocess
import sys

import psutil  # type: ignore[import-untyped]  # no stubs are published with it
import pytest

from bench import accept, costs, path
from bench.accept import Taken, guard
from embedded.child import process_tree

BURN = "import time\nwhile time.process_time() < {seconds}: pass\n"


def test_who_lives_is_counted_from_the_first_look() -> None:
    before = costs.Used({1: 10.0, 2: 5.0}, ended=3.0)
    after = costs.Used({1: 10.5, 2: 7.0, 3: 0.25}, ended=3.0)
    assert costs.since(before, after) == pytest.approx(2.75)


def test_who_only_came_to_look_is_not_counted() -> None:
    before, after = costs.Used({1: 10.0}, ended=0.0), costs.Used({1: 10.5}, ended=4.0)
    assert costs.since(before, after) == pytest.approx(0.5)


def test_what_one_had_used_that_ended_is_counted_once() -> None:
    # It had used 5 s before the first look and used 2 s more; all 7 s have passed to its parent.
    before, after = costs.Used({1: 10.0, 2: 5.0}, ended=1.0), costs.Used({1: 10.5}, ended=8.0)
    assert costs.since_with_ended(before, after) == pytest.approx(2.5)


def test_a_process_and_what_its_child_used_that_has_ended() -> None:
    child = [sys.executable, "-c", BURN.format(seconds=0.4)]
    before = costs.used(process_tree(os.getpid())[:1])
    subprocess.run(child, check=True)
    after = costs.used([psutil.Process()])
    # The kernel counts in ticks of a hundredth, and sums of them are not exact.
    assert costs.since_with_ended(before, after) >= 0.35
    assert costs.since(before, after) <= costs.since_with_ended(before, after) - 0.35


def test_a_process_that_has_gone_is_left_out() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    seen = psutil.Process(child.pid)
    child.communicate(b"\n")
    assert costs.used([seen]) == costs.Used({}, 0.0)


def test_microseconds_for_each() -> None:
    assert costs.each(1.5, 3_000) == pytest.approx(500.0)


@pytest.mark.parametrize(
    ("must", "product_at_work", "limit_at_work"), [(0.35, 1.2, 1.0), (0.2, 1.7, 1.4), (0.2, 2.0, 2.0)]
)
def test_a_must_says_the_same_in_processor_time(must: float, product_at_work: float, limit_at_work: float) -> None:
    limit = {"bare receiver": 140.0, "sender": 60.0}
    limit_rate = limit_at_work / 200e-6
    seen = {"receiver": 700.0}
    seen_rate = product_at_work / 700e-6
    product = {"receiver": 200.0 * costs.within(must, 700.0 / 200.0, seen_rate / limit_rate)}
    assert costs.at_work(limit_rate, limit) == pytest.approx(limit_at_work)
    assert costs.at_work(seen_rate, seen) == pytest.approx(product_at_work)
    # What costs just what it may takes up as many processors at just the rate that it must have.
    assert costs.at_work(must * limit_rate, product) == pytest.approx(product_at_work)


def test_the_musts_of_the_two_ways() -> None:
    # 2.37 * 0.40 / 0.35 and 5.7 * 0.24 / 0.2, as bench/README.md derives them.
    assert (accept.COST_MUST, path.COST_MUST) == (2.7, 6.8)


def test_the_guard_counts_all_that_a_webhook_takes_on_both_sides() -> None:
    mine = [Taken(2_500.0, {"receiver": 300.0, "postgres": 100.0, "sender": 60.0})]
    theirs = [Taken(5_000.0, {"bare receiver": 100.0, "postgres": 40.0, "sender": 60.0})]
    cost, at_work = guard("a", "P1", mine, theirs, 2.5)
    assert cost.ratio == pytest.approx(2.3)
    assert cost.verdict == "held"
    assert guard("a", "P1", mine, theirs, 2.2)[0].verdict == "FAILED"
    assert (*at_work.product, *at_work.limit) == pytest.approx((1.15, 1.0))
