"""What fits is admitted, what does not is refused, and nothing stays held."""

import asyncio
from datetime import timedelta

import pytest

from billing.errors import BudgetExceededError, LimitExceededError
from billing.limits import Limits, Reservation
from billing.models import Counter, Holding, Limit
from billing.pricing import Price
from tests.billing.limit_world import (
    NOW,
    held,
    make_caller,
    make_limit,
    make_team,
    make_worker,
    open_limits,
    play,
    post,
    running,
    taken,
    tokens,
)

pytestmark = pytest.mark.django_db(transaction=True)

USD = 1_000_000_000
# One nano-dollar a token, in and out.
PLAIN = Price(id=1, input=1_000_000, output=1_000_000)


@pytest.fixture
def team():
    return make_team()


@pytest.fixture
def caller(team):
    return make_caller(team)


async def admit(limits: Limits, caller, estimate, now=NOW, end_user="") -> Reservation:
    """What the gateway does: memory first, then the database."""
    at_once = limits.reserve_at_once(caller, estimate, end_user, now)
    return at_once or await limits.reserve(caller, estimate, end_user, now)


def test_a_caller_without_limits_is_admitted_at_once(caller):
    limits = open_limits()
    assert limits.reserve_at_once(caller, tokens(5), "", NOW) == Reservation((), 0)
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


def test_a_call_refused_by_one_limit_takes_nothing_from_the_others(team, caller):
    make_limit(team, "requests", "day", 100)
    make_limit(team, "tokens", "day", 50)
    limits = open_limits()

    async def story():
        with pytest.raises(LimitExceededError):
            await admit(limits, caller, tokens(51))
        return await limits.state(caller, NOW)

    assert [state.used for state in play(limits, story())] == [0, 0]


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
    limits = open_limits()

    async def story():
        call = await admit(limits, caller, tokens(60, prices=(PLAIN,)))
        limits.settle(call, tokens=0, cost_nano_usd=100 * USD - 50)
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


def test_of_several_reached_limits_the_longest_is_told(team, caller):
    make_limit(team, "requests", "minute", 0)
    make_limit(team, "requests", "day", 0)
    limits = open_limits()

    async def story():
        with pytest.raises(LimitExceededError) as refused:
            await admit(limits, caller, tokens(5))
        return refused.value.message

    assert "per day" in play(limits, story())


def test_output_shrinks_to_what_every_limit_can_pay(team, caller):
    make_limit(team, "usd", "month", 80)
    make_limit(team, "tokens", "minute", 60)
    limits = open_limits()

    async def story():
        estimate = tokens(1010, output=1000, prices=(PLAIN,), choices=3, adjustable=True)
        return await admit(limits, caller, estimate)

    call = play(limits, story())
    assert call.output_tokens == 48
    assert [hold.amount for hold in call.holds] == [58, 58]


def test_output_that_fits_does_not_shrink(team, caller):
    make_limit(team, "usd", "month", 5000)
    limits = open_limits()

    async def story():
        estimate = tokens(1010, output=1000, prices=(PLAIN,), adjustable=True)
        return await admit(limits, caller, estimate)

    assert play(limits, story()).output_tokens == 1000


def test_output_cannot_shrink_below_one_token_a_choice(team, caller):
    make_limit(team, "tokens", "minute", 12)
    limits = open_limits()

    async def story():
        estimate = tokens(1010, output=1000, choices=3, adjustable=True)
        with pytest.raises(LimitExceededError):
            await admit(limits, caller, estimate)

    play(limits, story())


def test_a_key_limit_binds_that_key_alone(team, caller):
    other = make_caller(team, "other")
    make_limit(team, "requests", "minute", 1, key_id=caller.key_id)
    limits = open_limits()

    async def story():
        await admit(limits, caller, tokens(5))
        await admit(limits, other, tokens(5))
        with pytest.raises(LimitExceededError) as refused:
            await admit(limits, caller, tokens(5))
        return refused.value.message

    assert "of key ci" in play(limits, story())


def test_a_limit_per_key_gives_each_key_its_own(team, caller):
    other = make_caller(team, "other")
    make_limit(team, "requests", "minute", 1, per="key")
    limits = open_limits()

    async def story():
        await admit(limits, caller, tokens(5))
        await admit(limits, other, tokens(5))
        with pytest.raises(LimitExceededError):
            await admit(limits, other, tokens(5))

    play(limits, story())


def test_a_limit_per_end_user_gives_each_user_its_own(team, caller):
    make_limit(team, "requests", "minute", 1, per="end_user")
    limits = open_limits()

    async def story():
        await admit(limits, caller, tokens(5), end_user="alice")
        await admit(limits, caller, tokens(5), end_user="bob")
        await admit(limits, caller, tokens(5))
        with pytest.raises(LimitExceededError) as refused:
            await admit(limits, caller, tokens(5), end_user="alice")
        return refused.value.message

    assert "end user alice of team research" in play(limits, story())


def test_an_end_user_that_no_database_stores_is_still_counted(team, caller):
    make_limit(team, "requests", "minute", 1, per="end_user")
    limits = open_limits()

    async def story():
        await admit(limits, caller, tokens(5), end_user="a\0b\ud800")
        with pytest.raises(LimitExceededError):
            await admit(limits, caller, tokens(5), end_user="a\0b\ud800")

    play(limits, story())


def test_a_soft_limit_refuses_nothing(team, caller):
    make_limit(team, "requests", "minute", 0, soft=True)
    make_limit(team, "usd", "minute", 0, soft=True)
    limits = open_limits()
    assert limits.reserve_at_once(caller, tokens(5), "", NOW) is not None
    assert not limits.has_usd_limit(caller)
    play(limits, asyncio.sleep(0))


def test_a_new_period_starts_from_nothing(team, caller):
    make_limit(team, "requests", "minute", 1)
    limits = open_limits()

    async def story():
        await admit(limits, caller, tokens(5))
        await admit(limits, caller, tokens(5), NOW + timedelta(minutes=1))
        with pytest.raises(LimitExceededError):
            await admit(limits, caller, tokens(5), NOW)

    play(limits, story())
    assert [counter.taken for counter in Counter.objects.all()] == [1, 1]


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


def test_a_call_after_a_few_others_needs_no_database(team, caller):
    make_limit(team, "requests", "day", 1000)
    limits = open_limits()

    async def story():
        for _ in range(20):
            limits.settle(await admit(limits, caller, tokens(5)), tokens=5, cost_nano_usd=0)
        return limits.reserve_at_once(caller, tokens(5), "", NOW)

    assert play(limits, story()) is not None


def test_the_state_is_exact_while_chunks_idle_here(team, caller):
    make_limit(team, "requests", "day", 1000)
    limits = open_limits()

    async def story():
        for _ in range(20):
            limits.settle(await admit(limits, caller, tokens(5)), tokens=5, cost_nano_usd=0)
        return (await limits.state(caller, NOW))[0], limits.tightest(caller, NOW).requests

    exact, quick = play(limits, story())
    assert (exact.used, exact.remaining, exact.scope) == (20, 980, "team")
    assert quick == exact


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


def test_the_database_alone_decides_about_a_limit_that_was_just_deleted(team, caller):
    make_limit(team, "requests", "day", 0)
    limits = open_limits()
    Limit.objects.all().delete()
    assert play(limits, admit(limits, caller, tokens(1))).holds == ()
