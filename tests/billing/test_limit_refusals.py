"""What a refusal says: whose limit, what is left of it, and when to come back."""

import asyncio

import pytest

from billing.errors import BudgetExceededError, LimitExceededError
from tests.billing.limit_world import (
    PLAIN,
    admit,
    make_caller,
    make_limit,
    make_team,
    make_worker,
    open_limits,
    play,
    post,
    tokens,
)

pytestmark = pytest.mark.django_db(transaction=True)

USD = 1_000_000_000


def test_a_budget_held_by_running_calls_can_be_retried(team, caller):
    make_limit(team, "usd", "month", 100)
    limits = open_limits()

    async def story():
        await admit(limits, caller, tokens(60, prices=(PLAIN,)))
        with pytest.raises(BudgetExceededError) as refused:
            await admit(limits, caller, tokens(60, prices=(PLAIN,)))
        return refused.value

    refused = play(limits, story())
    assert refused.retriable
    assert refused.retry_after_seconds == 1


def test_a_spent_budget_names_itself_and_its_reset(caller):
    paris = make_team("labs", "Europe/Paris")
    caller = make_caller(paris)
    make_limit(paris, "usd", "month", 100 * USD)
    worker = make_worker()
    limits = open_limits(worker)

    async def story():
        call = await admit(limits, caller, tokens(60, prices=(PLAIN,)))
        charges = limits.settle(call, tokens=0, cost_nano_usd=100 * USD - 50)
        await asyncio.to_thread(post, worker.pk, charges)
        limits.posted(charges)
        with pytest.raises(BudgetExceededError) as refused:
            await admit(limits, caller, tokens(60, prices=(PLAIN,)))
        return refused.value

    refused = play(limits, story())
    assert not refused.retriable
    assert refused.message == (
        "The budget of 100.00 USD per month of team labs has 0.00000005 USD left, and this "
        "call may take up to 0.00000006 USD. It resets at 2126-12-01T00:00:00+01:00."
    )


def test_a_total_budget_never_resets(team, caller):
    make_limit(team, "usd", "total", 0)
    limits = open_limits()

    async def story():
        with pytest.raises(BudgetExceededError) as refused:
            await admit(limits, caller, tokens(60, prices=(PLAIN,)))
        return refused.value

    refused = play(limits, story())
    assert refused.retry_after_seconds is None
    assert refused.message == (
        "The budget of 0.00 USD in total of team research is used up. It does not reset."
    )


def test_a_full_minute_says_when_the_next_begins(team, caller):
    make_limit(team, "requests", "minute", 1)
    limits = open_limits()

    async def story():
        call = await admit(limits, caller, tokens(5))
        limits.settle(call, tokens=5, cost_nano_usd=0)
        with pytest.raises(LimitExceededError) as refused:
            await admit(limits, caller, tokens(5))
        return refused.value

    assert play(limits, story()).retry_after_seconds == 55


def test_requests_that_are_used_up_for_good_are_not_told_to_come_back_soon(team, caller):
    make_limit(team, "requests", "total", 0)
    limits = open_limits()

    async def story():
        with pytest.raises(LimitExceededError) as refused:
            await admit(limits, caller, tokens(5))
        return refused.value

    refused = play(limits, story())
    assert refused.retry_after_seconds == 3600
    assert refused.message == (
        "The limit of 0 requests in total of team research is used up. It does not reset."
    )


def test_of_several_reached_limits_the_longest_is_told(team, caller):
    make_limit(team, "requests", "minute", 0)
    make_limit(team, "requests", "day", 0)
    limits = open_limits()

    async def story():
        with pytest.raises(LimitExceededError) as refused:
            await admit(limits, caller, tokens(5))
        return refused.value.message

    assert "per day" in play(limits, story())
