"""A limit that is made, or made anew, while calls run counts them too."""

import asyncio

import pytest

from billing.limits import Limits, load_limits
from billing.recalls import LISTEN_SECONDS
from keys.errors import GatewayError
from tests.billing.limit_world import (
    NOW,
    FailingStore,
    admit,
    held,
    make_limit,
    make_worker,
    open_limits,
    post,
    running,
    taken,
    tokens,
)

pytestmark = pytest.mark.django_db(transaction=True)


def take_edits(runner, *workers: Limits) -> None:
    for limits in workers:
        limits.replace(load_limits())
        runner.run(limits.count_running())


def admitted(runner, limits: Limits, caller, calls: int) -> int:
    """How many of so many calls get in."""
    return sum(runner.run(_is_admitted(limits, caller)) for _ in range(calls))


async def _is_admitted(limits: Limits, caller) -> bool:
    try:
        await admit(limits, caller, tokens(5))
    except GatewayError:
        return False
    return True


@pytest.mark.parametrize(
    ("unit", "window", "ceiling"),
    [("requests", "day", 10), ("concurrent", "", 10), ("tokens", "day", 50)],
)
def test_G1_running_calls_count_in_a_limit_that_is_made_after_them(
    team, caller, unit, window, ceiling
):
    one, other = workers = open_limits(), open_limits()
    with running(*workers) as runner:
        assert [admitted(runner, limits, caller, 4) for limits in workers] == [4, 4]
        limit = make_limit(team, unit, window, ceiling)
        take_edits(runner, *workers)
        assert taken(limit) == held(limit) == ceiling * 8 // 10
        assert admitted(runner, one, caller, 5) + admitted(runner, other, caller, 5) == 2


def test_they_are_charged_once_when_they_end(team, caller):
    worker = make_worker()
    limits = open_limits(worker)
    with running(limits) as runner:
        reservation = runner.run(admit(limits, caller, tokens(9)))
        limit = make_limit(team, "tokens", "day", 100)
        take_edits(runner, limits)
        assert taken(limit) == held(limit) == 9
        charges = limits.settle(reservation, tokens=7, cost_nano_usd=0)
        assert [(charge.amount, charge.excess) for charge in charges] == [(7, 0)]
        post(worker.pk, charges)
        limits.posted(charges)
    assert (taken(limit), held(limit)) == (7, 0)


def test_a_running_call_is_counted_once_when_two_edits_meet(team, caller):
    limits = open_limits()

    async def twice():
        await asyncio.gather(limits.count_running(), limits.count_running())

    with running(limits) as runner:
        reservation = runner.run(admit(limits, caller, tokens(9)))
        make_limit(team, "tokens", "day", 100)
        limits.replace(load_limits())
        runner.run(twice())
        assert [hold.amount for hold in reservation.holds] == [9]


def test_a_limit_that_is_smaller_than_what_runs_admits_nothing_more(team, caller):
    limits = open_limits()
    with running(limits) as runner:
        assert admitted(runner, limits, caller, 8) == 8
        limit = make_limit(team, "requests", "day", 5)
        take_edits(runner, limits)
        assert taken(limit) == held(limit) == 8
        assert admitted(runner, limits, caller, 3) == 0


def test_G1_it_admits_the_next_call_when_less_runs_than_it_allows(team, caller):
    one, other = workers = open_limits(), open_limits()
    with running(*workers) as runner:
        calls = [runner.run(admit(limits, caller, tokens(5))) for limits in (one, other) * 3]
        make_limit(team, "concurrent", "", 4)
        take_edits(runner, *workers)
        # The first one counted its calls before it could know of the other's.
        runner.run(asyncio.sleep(2 * LISTEN_SECONDS))
        for still_running, call in zip(range(5, -1, -1), calls, strict=True):
            (one if still_running % 2 else other).settle(call, tokens=5, cost_nano_usd=0)
            assert admitted(runner, one, caller, 1) == (still_running < 4)


def test_what_could_not_be_counted_is_counted_with_the_next_tidying(team, caller):
    store = FailingStore(make_worker().pk)
    limits = open_limits(store=store)
    with running(limits) as runner:
        assert admitted(runner, limits, caller, 4) == 4
        limit = make_limit(team, "requests", "day", 10)
        store.fault = "away"
        take_edits(runner, limits)
        assert taken(limit) == 0
        store.fault = ""
        runner.run(limits.tidy(NOW))
        assert taken(limit) >= 4
        assert admitted(runner, limits, caller, 10) == 6
