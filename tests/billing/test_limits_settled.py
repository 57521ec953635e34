"""What a call used is charged in full, and what it did not use is free for others."""

import asyncio

import pytest

from billing.errors import BudgetExceededError, LimitExceededError
from billing.recalls import LONGEST_WAIT_SECONDS
from tests.billing.limit_world import (
    NOW,
    PLAIN,
    admit,
    held,
    idle_on,
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


def test_settling_frees_what_was_not_used(team, caller):
    make_limit(team, "tokens", "day", 100)
    limits = open_limits()

    async def story():
        first = await admit(limits, caller, tokens(90))
        limits.settle(first, tokens=5, cost_nano_usd=None)
        return await admit(limits, caller, tokens(95))

    assert play(limits, story()).holds[0].amount == 95


def test_a_call_beyond_its_bound_is_charged_in_full(team, caller):
    limit = make_limit(team, "tokens", "day", 100)
    worker = make_worker()
    limits = open_limits(worker)

    async def story():
        call = await admit(limits, caller, tokens(100))
        return limits.settle(call, tokens=130, cost_nano_usd=None)

    with running(limits) as runner:
        charges = runner.run(story())
        assert [(charge.amount, charge.excess) for charge in charges] == [(130, 30)]
        post(worker.pk, charges)
        limits.posted(charges)
        state = runner.run(limits.state(caller, NOW))[0]
        assert (state.used, state.remaining) == (130, 0)
        assert (taken(limit), held(limit)) == (130, 0)


def test_idle_units_cover_a_call_beyond_its_bound_first(team, caller):
    make_limit(team, "tokens", "day", 100)
    limits = open_limits()

    async def story():
        wide = await admit(limits, caller, tokens(60))
        narrow = await admit(limits, caller, tokens(10))
        limits.settle(wide, tokens=20, cost_nano_usd=None)
        return limits.settle(narrow, tokens=30, cost_nano_usd=None)

    assert play(limits, story())[0].excess == 0


def test_every_admitted_call_counts_as_one_request_even_if_nothing_came_of_it(team, caller):
    make_limit(team, "requests", "minute", 2)
    limits = open_limits()

    async def story():
        for _ in range(2):
            call = await admit(limits, caller, tokens(5))
            charges = limits.settle(call, tokens=0, cost_nano_usd=0)
            assert [charge.amount for charge in charges] == [1]
        with pytest.raises(LimitExceededError):
            await admit(limits, caller, tokens(5))

    play(limits, story())


def test_a_voided_call_counts_nowhere(team, caller):
    make_limit(team, "requests", "minute", 1)
    limits = open_limits()

    async def story():
        limits.void(await admit(limits, caller, tokens(5)))
        return await admit(limits, caller, tokens(5))

    assert play(limits, story()).holds


def test_calls_at_once_are_freed_when_they_end(team, caller):
    make_limit(team, "concurrent", "", 1)
    limits = open_limits()

    async def story():
        running_call = await admit(limits, caller, tokens(5))
        with pytest.raises(LimitExceededError) as refused:
            await admit(limits, caller, tokens(5))
        assert limits.settle(running_call, tokens=5, cost_nano_usd=0) == ()
        await admit(limits, caller, tokens(5))
        return refused.value

    refused = play(limits, story())
    assert refused.retry_after_seconds == 1
    assert refused.message == (
        "The limit of 1 call at once of team research is reached. "
        "Try again when one of them has ended."
    )


def test_G1_what_a_call_took_beyond_its_bound_is_room_for_no_other_worker(team, caller):
    make_limit(team, "tokens", "day", 100)
    worker = make_worker()
    one, other = open_limits(worker), open_limits()

    async def story():
        call = await admit(one, caller, tokens(20))
        await idle_on(other, caller, 40)
        charges = one.settle(call, tokens=90, cost_nano_usd=None)
        waiting = asyncio.create_task(one.until_counted(charges))
        await asyncio.to_thread(post, worker.pk, charges)
        one.posted(charges)
        await waiting
        with pytest.raises(LimitExceededError):
            await admit(other, caller, tokens(20))

    with running(one, other) as runner:
        runner.run(story())


def test_what_cannot_be_counted_holds_up_no_answer_for_long(team, caller):
    make_limit(team, "tokens", "day", 100)
    limits = open_limits()

    async def story():
        call = await admit(limits, caller, tokens(100))
        charges = limits.settle(call, tokens=130, cost_nano_usd=None)
        async with asyncio.timeout(10 * LONGEST_WAIT_SECONDS):
            await limits.until_counted(charges)

    play(limits, story())


def test_excess_that_the_ledger_has_and_the_worker_has_not_heard_of_makes_no_refusal_final(
    team, caller
):
    make_limit(team, "usd", "day", 100)
    worker = make_worker()
    limits = open_limits(worker)

    async def story():
        call = await admit(limits, caller, tokens(50, prices=(PLAIN,)))
        limits._wallet.give_up_everything()
        charges = limits.settle(call, tokens=60, cost_nano_usd=60)
        await asyncio.to_thread(post, worker.pk, charges)
        with pytest.raises(BudgetExceededError) as refused:
            await admit(limits, caller, tokens(35, prices=(PLAIN,)))
        limits.posted(charges)
        return refused.value.retriable, await admit(limits, caller, tokens(35, prices=(PLAIN,)))

    retriable, _ = play(limits, story())
    assert retriable


def test_a_request_that_runs_is_used_up_whatever_its_end(team, caller):
    make_limit(team, "requests", "day", 1)
    limits = open_limits()

    async def story():
        await admit(limits, caller, tokens(5))
        with pytest.raises(LimitExceededError) as refused:
            await admit(limits, caller, tokens(5))
        return refused.value

    error = play(limits, story())
    assert "is used up" in error.message
    midnight = NOW.replace(day=25, hour=0, second=0)
    assert error.retry_after_seconds == (midnight - NOW).total_seconds()
