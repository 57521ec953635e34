"""Calls that need several scarce things at once get all of them or take none from others."""

import asyncio

import pytest

from billing.chunks import Need, Pot, meet
from billing.errors import LimitExceededError
from billing.limits import Reservation
from tests.billing.limit_world import (
    admit,
    held,
    make_caller,
    make_limit,
    make_team,
    open_limits,
    running,
    taken,
    tokens,
)

ROUNDS = 15


def test_a_call_takes_of_all_pots_or_of_none():
    scarce, plenty = Pot(idle=0, room=3), Pot(idle=5, room=50)
    calls = [(scarce, Need(0, 4, 4)), (plenty, Need(0, 10, 10))]
    calls += [(scarce, Need(1, 2, 2)), (plenty, Need(1, 20, 20))]
    meet(calls)
    assert (scarce.granted, scarce.room) == (2, 1)
    assert (plenty.granted, plenty.idle, plenty.room) == (15, 0, 35)


def test_one_that_would_take_less_gets_what_there_is():
    pot = Pot(idle=1, room=6)
    meet([(pot, Need(0, 2, 100))])
    assert (pot.granted, pot.idle, pot.room) == (6, 0, 0)


def test_what_lies_idle_above_a_lowered_ceiling_is_not_granted_twice():
    pot = Pot(idle=2, room=-4)
    meet([(pot, Need(0, 2, 2)), (pot, Need(1, 1, 1))])
    assert (pot.granted, pot.idle, pot.room) == (0, 0, -4)


@pytest.mark.parametrize(("needed", "calls_back"), [(3, False), (4, True)])
def test_others_are_called_back_for_what_is_lacking_alone(needed, calls_back):
    lacking, plenty = Pot(idle=0, room=3), Pot(idle=0, room=100)
    meet([(lacking, Need(0, needed, needed, recall=True)), (plenty, Need(0, 1, 1, recall=True))])
    assert (lacking.calls_back, plenty.calls_back) == (calls_back, False)


@pytest.mark.django_db(transaction=True)
def test_G1_R46_a_refused_call_keeps_nothing_of_the_limits_that_had_room(team, caller):
    make_limit(team, "concurrent", "", 1)
    day = make_limit(team, "tokens", "day", 1000)
    one, other = open_limits(), open_limits()

    with running(one, other) as runner:
        runner.run(admit(one, caller, tokens(10)))
        before = held(day)
        with pytest.raises(LimitExceededError):
            runner.run(admit(other, caller, tokens(20)))
        assert taken(day) == held(day) == before


@pytest.mark.django_db(transaction=True)
def test_G1_workers_that_race_for_the_last_of_two_limits_never_refuse_each_other():
    """Where one call fits, one call gets in: never none, with half of it held by each worker."""
    outcomes = [_admitted_in_a_race(f"race-{number}") for number in range(ROUNDS)]
    assert outcomes == [5] * ROUNDS


def _admitted_in_a_race(name: str) -> int:
    """How many of 14 calls get in where in the end five are running and 100 tokens are held."""
    team = make_team(name)
    caller = make_caller(team)
    make_limit(team, "tokens", "minute", 100)
    make_limit(team, "concurrent", "", 5)
    workers = open_limits(), open_limits()

    async def story() -> int:
        admitted = 0
        for calls, size in ((5, 39), (5, 9), (4, 4)):
            tries = [admit(workers[n % 2], caller, tokens(size)) for n in range(calls)]
            outcomes = await asyncio.gather(*tries, return_exceptions=True)
            admitted += sum(isinstance(outcome, Reservation) for outcome in outcomes)
        return admitted

    with running(*workers) as runner:
        return runner.run(story())
