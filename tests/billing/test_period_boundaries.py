"""Calls around the end of a period: each counts in one period, that of its admission."""

from datetime import timedelta

import pytest

from billing.errors import LimitExceededError
from billing.models import Counter
from billing.periods import period_of
from tests.billing.limit_world import (
    NOW,
    make_caller,
    make_limit,
    make_team,
    open_limits,
    play,
    tokens,
)

pytestmark = pytest.mark.django_db(transaction=True)

TICK = timedelta(microseconds=1)


@pytest.mark.parametrize("window", ["minute", "hour", "day", "week", "month"])
@pytest.mark.parametrize(
    "zone", ["UTC", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Havana", "Africa/Cairo"]
)
def test_F42_G10_a_call_at_the_boundary_is_counted_once(window, zone):
    team = make_team(timezone=zone)
    limit = make_limit(team, "requests", window, 1)
    limits, caller = open_limits(), make_caller(team)
    end = period_of(window, zone, NOW).end
    assert end is not None
    last = end - TICK

    async def story() -> None:
        # Admitted in one period and settled in the next: it stays where it was admitted.
        before = await limits.reserve(caller, tokens(1), "", last)
        after = await limits.reserve(caller, tokens(1), "", end)
        for moment in (last, end):
            with pytest.raises(LimitExceededError):
                await limits.reserve(caller, tokens(1), "", moment)
        for reservation in (before, after):
            (charge,) = limits.settle(reservation, tokens=1, cost_nano_usd=0)
            assert (charge.amount, charge.excess) == (1, 0)
        assert before.holds[0].counter_id != after.holds[0].counter_id

    play(limits, story())
    counters = Counter.objects.filter(limit=limit).order_by("period_start")
    assert [counter.taken for counter in counters] == [1, 1]
    first, second = counters
    assert first.period_end == second.period_start == end
