"""The measure itself, on made-up calls."""

import random

from tests.outages.added_time import added_p99
from tests.outages.steady_load import Call

SECONDS, PER_SECOND = 30, 20


def calls(seed, *, slow_share=0.0, slow=0.0, disturbed=()):
    """What took longer in the disturbed seconds, by up to 0.3 s, has nothing to do with Redis."""
    rng = random.Random(seed)  # noqa: S311 - reproducible, not secrets
    return [
        Call(
            "call",
            at=second + number / PER_SECOND,
            seconds=rng.uniform(0.01, 0.03)
            + (rng.uniform(0, 0.3) if second in disturbed else 0)
            + (slow if rng.random() < slow_share else 0),
            status=200,
        )
        for second in range(SECONDS)
        for number in range(PER_SECOND)
    ]


def test_time_that_every_fortieth_call_waits_is_found():
    found = added_p99(calls(1, slow_share=0.025, slow=0.2), calls(2))
    assert 0.15 < found.surely <= found.measured < 0.25


def test_it_is_found_on_a_disturbed_machine_too():
    disturbed = range(5, 12)
    broken = calls(3, slow_share=0.1, slow=0.5, disturbed=disturbed)
    assert added_p99(broken, calls(4, disturbed=disturbed)).surely > 0.05


def test_a_burst_that_hits_one_of_both_is_not_taken_for_it():
    found = added_p99(calls(5, disturbed=[17]), calls(6))
    assert found.measured > 0.05
    assert found.surely < 0.05


def test_where_nothing_was_added_nothing_is_found():
    found = added_p99(calls(7), calls(8))
    assert abs(found.measured) < 0.01
    assert abs(found.surely) < 0.01
