"""What one worker idles on is another's to spend: recalls between workers on one database."""

import asyncio
from datetime import timedelta

import pytest

from billing.errors import BudgetExceededError, LimitExceededError
from billing.estimate import Estimate
from billing.models import Counter, Holding
from billing.pricing import Price
from keys.errors import ServiceUnavailableError
from tests.billing.limit_world import (
    NOW,
    FailingStore,
    HangingStore,
    held,
    make_caller,
    make_limit,
    make_team,
    make_worker,
    open_limits,
    running,
    taken,
    tokens,
)

pytestmark = pytest.mark.django_db(transaction=True)

PLAIN = Price(id=1, input=1_000_000, output=1_000_000)


@pytest.fixture
def team():
    return make_team()


@pytest.fixture
def caller(team):
    return make_caller(team)


async def admit(limits, caller, estimate, now=NOW):
    asked = (caller, estimate, "", now)
    return limits.reserve_at_once(*asked) or await limits.reserve(*asked)


async def idle_on(limits, caller, count):
    """Have a worker idle on some tokens: what a call held that used nothing."""
    limits.void(await admit(limits, caller, tokens(count)))


def test_a_call_is_given_what_another_worker_idles_on(team, caller):
    limit = make_limit(team, "tokens", "day", 100)
    one, other = open_limits(), open_limits()

    async def story():
        await idle_on(one, caller, 90)
        reservation = await admit(other, caller, tokens(95))
        return reservation.holds[0].amount

    with running(one, other) as runner:
        assert runner.run(story()) == 95
        assert taken(limit) == 95


def test_what_running_calls_hold_elsewhere_is_refused_and_may_be_tried_again(team, caller):
    make_limit(team, "tokens", "day", 100)
    one, other = open_limits(), open_limits()

    async def story():
        await admit(one, caller, tokens(90))
        with pytest.raises(LimitExceededError) as refused:
            await admit(other, caller, tokens(20))
        assert refused.value.retry_after_seconds == 1

    with running(one, other) as runner:
        runner.run(story())


def test_what_is_spent_elsewhere_is_refused_without_a_recall(team, caller):
    limit = make_limit(team, "usd", "month", 100)
    one, other = open_limits(), open_limits()

    async def story():
        reservation = await admit(one, caller, Estimate(90, 0, (PLAIN,)))
        one.settle(reservation, tokens=90, cost_nano_usd=90)
        await admit(one, caller, Estimate(5, 0, (PLAIN,)))
        with pytest.raises(BudgetExceededError):
            await admit(other, caller, Estimate(101, 0, (PLAIN,)))

    with running(one, other) as runner:
        runner.run(story())
        assert Counter.objects.get(limit=limit).recalls == 0


def test_many_calls_that_lack_the_same_raise_one_recall(team, caller):
    limit = make_limit(team, "tokens", "day", 100)
    one, other = open_limits(), open_limits()

    async def story():
        await idle_on(one, caller, 90)
        return await asyncio.gather(*[admit(other, caller, tokens(5)) for _ in range(20)])

    with running(one, other) as runner:
        assert len(runner.run(story())) == 20
        assert taken(limit) == 100
        # The first call asks alone, the others together.
        assert Counter.objects.get(limit=limit).recalls <= 2


def test_a_call_without_max_tokens_is_given_all_that_the_limits_can_pay(team, caller):
    make_limit(team, "tokens", "day", 100)
    one, other = open_limits(), open_limits()

    async def story():
        await idle_on(one, caller, 90)
        estimate = tokens(1010, output=1000, adjustable=True)
        return (await admit(other, caller, estimate)).output_tokens

    with running(one, other) as runner:
        assert runner.run(story()) == 90


def test_a_worker_that_does_not_answer_holds_nobody_up_for_long(team, caller):
    limit = make_limit(team, "tokens", "day", 100)
    worker = make_worker()
    limits = open_limits()

    with running(limits) as runner:
        runner.run(admit(limits, caller, tokens(1)))
        Holding.objects.create(counter=Counter.objects.get(limit=limit), worker=worker, amount=90)
        Counter.objects.filter(limit=limit).update(taken=91)
        with pytest.raises(LimitExceededError):
            runner.run(admit(limits, caller, tokens(50)))


def test_the_state_of_a_limit_counts_no_idle_units_of_others(team, caller):
    make_limit(team, "tokens", "day", 100)
    one, other = open_limits(), open_limits()

    async def story():
        await idle_on(one, caller, 40)
        await admit(one, caller, tokens(7))
        return await other.state(caller, NOW)

    with running(one, other) as runner:
        (state,) = runner.run(story())
        assert (state.used, state.remaining) == (7, 93)


def test_headroom_among_others_is_only_what_is_held_here(team, caller):
    make_limit(team, "requests", "minute", 100)
    one, other = open_limits(), open_limits()

    async def story():
        await admit(one, caller, tokens(1))
        await admit(other, caller, tokens(1))
        return [limits.tightest(caller, NOW).requests for limits in (one, other)]

    with running(one, other) as runner:
        assert all(0 <= state.remaining <= 98 for state in runner.run(story()) if state)


def test_headroom_of_a_worker_alone_is_exact(team, caller):
    make_limit(team, "requests", "minute", 100)
    limits = open_limits()

    async def story():
        for _ in range(3):
            await admit(limits, caller, tokens(1))
        return limits.tightest(caller, NOW).requests

    with running(limits) as runner:
        state = runner.run(story())
        assert state is not None
        assert state.remaining == 97


def use(limits, caller, count):
    async def story():
        reservation = await admit(limits, caller, tokens(count))
        limits.settle(reservation, tokens=count, cost_nano_usd=0)

    return story()


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


def test_without_a_database_a_call_is_shortened_to_what_is_held(team, caller):
    make_limit(team, "tokens", "day", 100)
    store = FailingStore(make_worker().pk)
    limits = open_limits(store=store)

    async def story():
        await idle_on(limits, caller, 40)
        store.fault = "away"
        estimate = tokens(60, output=50, adjustable=True)
        return (await admit(limits, caller, estimate)).output_tokens

    with running(limits) as runner:
        assert runner.run(story()) == 30
        store.fault = ""


def test_a_database_that_hangs_holds_up_a_call_for_a_while_and_the_next_not_at_all(
    team, caller, monkeypatch
):
    monkeypatch.setattr("billing.refills.LONGEST_EXCHANGE_SECONDS", 0.05)
    make_limit(team, "tokens", "day", 100)
    store = HangingStore(make_worker().pk)
    limits = open_limits(store=store)

    async def story():
        for _ in range(2):
            with pytest.raises(ServiceUnavailableError):
                await admit(limits, caller, tokens(10))
        assert store.asked == 1
        store.go_on.set()

    with running(limits) as runner:
        runner.run(story())
        # The exchange came to its end after all, and what it brought is there to be spent.
        runner.run(asyncio.sleep(0.05))
        assert runner.run(admit(limits, caller, tokens(10))).holds
