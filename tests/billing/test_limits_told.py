"""What a caller is told of its limits: exact, and never more than remains."""

from datetime import timedelta

import pytest

from tests.billing.limit_world import (
    NOW,
    admit,
    idle_on,
    make_limit,
    open_limits,
    play,
    running,
    tokens,
)

pytestmark = pytest.mark.django_db(transaction=True)


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


def test_headroom_among_others_is_only_what_is_held_here(team, caller):
    make_limit(team, "requests", "minute", 100)
    one, other = open_limits(), open_limits()

    async def story():
        await admit(one, caller, tokens(1))
        await admit(other, caller, tokens(1))
        return [limits.tightest(caller, NOW).requests for limits in (one, other)]

    with running(one, other) as runner:
        # Of the rest a worker alone takes half ahead, and one among others an eighth.
        assert [state.remaining for state in runner.run(story())] == [32, 8]


def test_the_state_is_exact_while_all_that_others_hold_idles_ahead(team, caller):
    make_limit(team, "requests", "day", 1000)
    one, other = open_limits(), open_limits()

    async def story():
        for limits in (one, other):
            for _ in range(10):
                limits.settle(await admit(limits, caller, tokens(5)), tokens=5, cost_nano_usd=0)
            # As once a second: it takes ahead what a minute like this one will use.
            await limits.tidy(NOW)
        return [(await limits.state(caller, NOW))[0].used for limits in (one, other, one)]

    with running(one, other) as runner:
        assert runner.run(story()) == [20, 20, 20]


def test_R49_headroom_counts_the_limits_of_an_end_user(team, caller):
    make_limit(team, "requests", "minute", 60)
    make_limit(team, "requests", "minute", 3, per="end_user")
    limits = open_limits()

    async def story():
        for _ in range(3):
            await admit(limits, caller, tokens(1), end_user="ann")
        return [limits.tightest(caller, NOW, user).requests for user in ("ann", "bob")]

    with running(limits) as runner:
        ann, bob = runner.run(story())
        assert (ann.ceiling, ann.remaining) == (3, 0)
        assert (bob.ceiling, bob.remaining) == (60, 57)


def test_R49_headroom_is_of_the_period_that_has_begun_since_the_call_did(team, caller):
    make_limit(team, "requests", "minute", 5)
    make_limit(team, "requests", "day", 1000)
    limits = open_limits()

    async def story():
        await admit(limits, caller, tokens(1), NOW)
        for _ in range(5):
            await admit(limits, caller, tokens(1), NOW + timedelta(minutes=1))
        return limits.tightest(caller, NOW).requests

    with running(limits) as runner:
        state = runner.run(story())
        assert (state.ceiling, state.remaining) == (5, 0)
