"""What a worker holds ahead of its calls: spent from memory, and given back when idle."""

from datetime import timedelta

import pytest

from billing.models import Holding
from tests.billing.limit_world import (
    NOW,
    FailingStore,
    admit,
    held,
    make_limit,
    make_worker,
    open_limits,
    play,
    post,
    running,
    taken,
    tokens,
)

pytestmark = pytest.mark.django_db(transaction=True)


def use(limits, caller, count):
    async def story():
        reservation = await admit(limits, caller, tokens(count))
        limits.settle(reservation, tokens=count, cost_nano_usd=0)

    return story()


def test_a_call_after_a_few_others_needs_no_database(team, caller):
    make_limit(team, "requests", "day", 1000)
    limits = open_limits()

    async def story():
        for _ in range(20):
            limits.settle(await admit(limits, caller, tokens(5)), tokens=5, cost_nano_usd=0)
        return limits.reserve_at_once(caller, tokens(5), "", NOW)

    assert play(limits, story()) is not None


def test_a_share_in_use_is_filled_for_the_minute_to_come(team, caller):
    make_limit(team, "tokens", "day", 1_000_000)
    limits = open_limits()

    async def story():
        for _ in range(10):
            await use(limits, caller, 10)
            await limits.tidy(NOW)

    with running(limits) as runner:
        runner.run(story())
        # Ten tokens a second: for a minute without a database.
        for _ in range(60):
            reservation = limits.reserve_at_once(caller, tokens(10), "", NOW)
            assert reservation is not None
            limits.settle(reservation, tokens=10, cost_nano_usd=0)


def test_the_next_minute_is_provided_for_while_this_one_is_in_use(team, caller):
    make_limit(team, "tokens", "minute", 1_000_000)
    store = FailingStore(make_worker().pk)
    limits = open_limits(store=store)

    async def story():
        for _ in range(10):
            await use(limits, caller, 10)
            await limits.tidy(NOW)
        store.fault = "away"
        return await admit(limits, caller, tokens(10), NOW + timedelta(minutes=1))

    with running(limits) as runner:
        assert runner.run(story()).holds
        store.fault = ""


def test_nothing_is_held_ahead_once_traffic_has_stopped(team, caller):
    limit = make_limit(team, "tokens", "minute", 1_000_000)
    limits = open_limits()

    async def story():
        for _ in range(10):
            limits.void(await admit(limits, caller, tokens(10)))
            await limits.tidy(NOW)
        for _ in range(4):
            await limits.tidy(NOW)

    with running(limits) as runner:
        runner.run(story())
        assert (taken(limit), held(limit)) == (0, 0)


def test_what_idles_is_given_back_within_a_few_tidyings(team, caller):
    limit = make_limit(team, "tokens", "day", 1000)
    worker = make_worker()
    limits = open_limits(worker)

    async def story():
        call = await admit(limits, caller, tokens(100))
        return limits.settle(call, tokens=30, cost_nano_usd=0)

    async def tidy():
        for _ in range(3):
            await limits.tidy(NOW)

    with running(limits) as runner:
        charges = runner.run(story())
        runner.run(tidy())
        assert (taken(limit), held(limit)) == (30, 30)
        post(worker.pk, charges)
        limits.posted(charges)
        assert (taken(limit), held(limit)) == (30, 0)


def test_what_idles_in_a_period_that_is_over_is_given_back_at_once(team, caller):
    limit = make_limit(team, "tokens", "minute", 1000)
    limits = open_limits()

    async def story():
        limits.void(await admit(limits, caller, tokens(100)))
        await limits.tidy(NOW + timedelta(minutes=1))

    with running(limits) as runner:
        runner.run(story())
        assert limit.counters.order_by("period_start")[0].taken == 0


def test_running_calls_keep_their_hold_however_long_they_take(team, caller):
    limit = make_limit(team, "tokens", "minute", 1000)
    limits = open_limits()

    async def story():
        await admit(limits, caller, tokens(100))
        for second in range(200):
            await limits.tidy(NOW + timedelta(seconds=second))

    with running(limits) as runner:
        runner.run(story())
        assert taken(limit) == held(limit) == 100


def test_a_worker_that_closes_leaves_no_holding(team, caller):
    limit = make_limit(team, "tokens", "day", 1000)
    limits = open_limits()

    async def story():
        limits.void(await admit(limits, caller, tokens(100)))

    play(limits, story())
    assert taken(limit) == 0
    assert not Holding.objects.exists()
