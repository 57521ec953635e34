"""What a caller is told of its limits: exact, and never more than remains."""

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
        assert all(0 <= state.remaining <= 98 for state in runner.run(story()) if state)
