"""While the database is away calls go on within what is held; afterwards nothing is lost."""

import asyncio

import pytest

from billing.limit_edits import change_limit
from billing.limits import Limits, load_limits
from keys.errors import ServiceUnavailableError
from tests.billing.limit_world import (
    NOW,
    FailingStore,
    HangingStore,
    admit,
    held,
    idle_on,
    make_limit,
    make_worker,
    open_limits,
    running,
    taken,
    tokens,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def limit(team):
    return make_limit(team, "tokens", "day", 1000)


@pytest.fixture
def store():
    return FailingStore(make_worker().pk)


@pytest.fixture
def limits(store, limit):
    limits = Limits(store)
    limits.replace(load_limits())
    return limits


def test_a_call_beyond_what_is_held_is_unavailable_and_not_refused(limits, store, caller):
    store.fault = "away"
    with running(limits) as runner:
        with pytest.raises(ServiceUnavailableError) as away:
            runner.run(limits.reserve(caller, tokens(10), "", NOW))
        assert away.value.retry_after_seconds == 1


def test_calls_go_on_within_what_is_held_and_it_is_not_returned(limits, store, caller):
    async def before():
        limits.void(await limits.reserve(caller, tokens(10), "", NOW))

    async def during():
        for _ in range(9):
            await limits.tidy(NOW)

    with running(limits) as runner:
        runner.run(before())
        store.fault = "away"
        runner.run(during())
        assert limits.reserve_at_once(caller, tokens(10), "", NOW) is not None
        store.fault = ""


def test_a_take_that_was_committed_unheard_is_found_and_spent(limits, store, caller, limit):
    with running(limits) as runner:
        store.fault = "after"
        assert runner.run(limits.reserve(caller, tokens(1000), "", NOW)).holds
        assert taken(limit) == held(limit) == 1000


def test_a_take_that_was_rolled_back_unheard_is_not_spent(limits, store, caller, limit):
    with running(limits) as runner:
        store.fault = "before"
        with pytest.raises(ServiceUnavailableError):
            runner.run(limits.reserve(caller, tokens(1000), "", NOW))
        assert limits.reserve_at_once(caller, tokens(1), "", NOW) is None
        assert taken(limit) == held(limit) == 0


def test_a_take_under_an_older_ceiling_that_is_heard_of_late_is_not_spent(
    limits, store, caller, limit
):
    with running(limits) as runner:
        store.fault = "after, then away"
        with pytest.raises(ServiceUnavailableError):
            runner.run(limits.reserve(caller, tokens(900), "", NOW))
        change_limit(limit, ceiling=100)
        limits.replace(load_limits())
        store.fault = ""
        assert runner.run(limits.reserve(caller, tokens(100), "", NOW)).holds
        assert taken(limit) == held(limit) == 100


@pytest.mark.parametrize(("fault", "left"), [("after", 0), ("before", 333)])
def test_a_return_of_unknown_outcome_is_looked_up(limits, store, caller, limit, fault, left):
    async def story():
        # It takes ahead what calls like this one would use in 100 s, were there one in three.
        limits.void(await limits.reserve(caller, tokens(10), "", NOW))
        store.fault = fault
        for _ in range(3):
            await limits.tidy(NOW)

    with running(limits) as runner:
        runner.run(story())
        assert taken(limit) == held(limit) == left
    assert taken(limit) == 0


def test_without_a_database_a_call_is_shortened_to_what_is_held(team, caller):
    make_limit(team, "tokens", "day", 100)
    store = FailingStore(make_worker().pk)
    limits = open_limits(store=store)

    async def story():
        # With half of the rest ahead it idles on 70.
        await idle_on(limits, caller, 40)
        store.fault = "away"
        estimate = tokens(110, output=100, adjustable=True)
        return (await admit(limits, caller, estimate)).output_tokens

    with running(limits) as runner:
        assert runner.run(story()) == 60
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

    async def later():
        while True:
            try:
                return await admit(limits, caller, tokens(10))
            except ServiceUnavailableError:
                await asyncio.sleep(0.01)

    with running(limits) as runner:
        runner.run(story())
        # The exchange comes to its end after all, and what it brought is there to be spent.
        monkeypatch.undo()
        assert runner.run(asyncio.wait_for(later(), 10)).holds
