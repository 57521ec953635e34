"""What fits is admitted, what does not is refused, on one worker and on several."""

import asyncio
from datetime import timedelta

import pytest

from billing.errors import LimitExceededError
from billing.limits import Reservation
from billing.models import Counter, Limit
from tests.billing.limit_world import (
    NOW,
    PLAIN,
    admit,
    held,
    make_limit,
    open_limits,
    play,
    running,
    taken,
    tokens,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_caller_without_limits_is_admitted_at_once(caller):
    limits = open_limits()
    reservation = limits.reserve_at_once(caller, tokens(5), "", NOW)
    assert isinstance(reservation, Reservation)
    assert reservation.holds == ()
    play(limits, asyncio.sleep(0))


def test_calls_are_admitted_up_to_the_ceiling_and_then_refused(team, caller):
    limit = make_limit(team, "requests", "minute", 3)
    limits = open_limits()

    async def story():
        for _ in range(3):
            await admit(limits, caller, tokens(1))
        with pytest.raises(LimitExceededError):
            await admit(limits, caller, tokens(1))

    with running(limits) as runner:
        runner.run(story())
        assert taken(limit) == held(limit) == 3


def test_of_five_hundred_calls_at_once_exactly_those_that_fit_are_admitted(team, caller):
    limit = make_limit(team, "usd", "month", 1700)
    make_limit(team, "requests", "day", 1000)
    limits = open_limits()

    async def story():
        estimate = tokens(10, prices=(PLAIN,))
        calls = [admit(limits, caller, estimate) for _ in range(500)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        return [o for o in outcomes if isinstance(o, Reservation)]

    with running(limits) as runner:
        admitted = runner.run(story())
        assert len(admitted) == 170
        assert taken(limit) == 1700


def test_two_workers_together_never_pass_the_ceiling(team, caller):
    limit = make_limit(team, "requests", "day", 100)
    one, two = open_limits(), open_limits()

    async def story():
        calls = [admit(worker, caller, tokens(1)) for _ in range(80) for worker in (one, two)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        return sum(isinstance(outcome, Reservation) for outcome in outcomes)

    with running(one, two) as runner:
        assert runner.run(story()) == 100
        assert taken(limit) == 100


def test_a_call_refused_by_one_limit_takes_nothing_from_the_others(team, caller):
    make_limit(team, "requests", "day", 100)
    make_limit(team, "tokens", "day", 50)
    limits = open_limits()

    async def story():
        with pytest.raises(LimitExceededError):
            await admit(limits, caller, tokens(51))
        return await limits.state(caller, NOW)

    assert [state.used for state in play(limits, story())] == [0, 0]


def test_a_soft_limit_refuses_nothing(team, caller):
    make_limit(team, "requests", "minute", 0, soft=True)
    make_limit(team, "usd", "minute", 0, soft=True)
    limits = open_limits()
    assert limits.reserve_at_once(caller, tokens(5), "", NOW) is not None
    assert not limits.has_usd_limit(caller)
    play(limits, asyncio.sleep(0))


def test_R48_a_new_period_starts_from_nothing(team, caller):
    make_limit(team, "requests", "minute", 1)
    limits = open_limits()

    async def story():
        await admit(limits, caller, tokens(5))
        await admit(limits, caller, tokens(5), NOW + timedelta(minutes=1))
        with pytest.raises(LimitExceededError):
            await admit(limits, caller, tokens(5), NOW)

    play(limits, story())
    assert [counter.taken for counter in Counter.objects.all()] == [1, 1]


def test_the_database_alone_decides_about_a_limit_that_was_just_deleted(team, caller):
    make_limit(team, "requests", "day", 0)
    limits = open_limits()
    Limit.objects.all().delete()
    assert play(limits, admit(limits, caller, tokens(1))).holds == ()
