"""Faults strike as often and as widely as they were set."""

from typing import Any

import pytest

from sandbox.chatwoot.faults import FAULT_COUNT_MAX, Fault, Faults


def test_a_fault_strikes_as_often_as_it_was_set() -> None:
    faults = Faults()
    faults.set(Fault("rest.error", count=2, status=502))
    assert [faults.draw("rest.error", "/api") is not None for _ in range(3)] == [True, True, False]
    assert faults.active() == []
    assert faults.struck == {"rest.error": 2}


def test_a_fault_strikes_only_what_it_names() -> None:
    faults = Faults()
    faults.set(Fault("webhook.lost", only="message"))
    assert faults.draw("webhook.lost", "contact_created") is None
    assert faults.draw("webhook.duplicate", "message_created") is None
    assert faults.draw("webhook.lost", "message_created") is not None


def test_a_share_is_drawn_from_the_seed() -> None:
    def drawn(seed: int) -> list[bool]:
        faults = Faults(seed)
        faults.set(Fault("webhook.duplicate", share=0.3))
        return [faults.draw("webhook.duplicate", "message_created") is not None for _ in range(200)]

    assert drawn(4) == drawn(4)
    assert drawn(4) != drawn(5)
    assert 30 < sum(drawn(4)) < 90


def test_clearing_one_kind_leaves_the_others() -> None:
    faults = Faults()
    faults.set(Fault("rest.slow", seconds=1))
    faults.set(Fault("webhook.lost"))
    faults.clear("rest.slow")
    assert [fault.kind for fault in faults.active()] == ["webhook.lost"]
    faults.clear()
    assert faults.active() == []


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "rest.meteor"},
        {"kind": "rest.slow", "seconds": -1},
        {"kind": "rest.error", "status": 200},
        {"kind": "webhook.lost", "share": 1.5},
        {"kind": "webhook.lost", "count": 0},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Fault(**fields)


def test_faults_have_a_limit() -> None:
    faults = Faults()
    for _ in range(FAULT_COUNT_MAX):
        faults.set(Fault("webhook.lost"))
    with pytest.raises(ValueError, match="At most"):
        faults.set(Fault("webhook.lost"))
