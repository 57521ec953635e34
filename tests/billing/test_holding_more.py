"""A running call may come to hold more, of all its limits or of none."""

import pytest

from billing.limits import Limits, load_limits
from tests.billing.limit_world import (
    NOW,
    FailingStore,
    held,
    make_caller,
    make_limit,
    make_team,
    make_worker,
    open_limits,
    play,
    taken,
    tokens,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_G1b_a_second_paid_attempt_is_held_besides_the_first():
    team = make_team()
    limit = make_limit(team, "tokens", "day", 100)
    limits, caller = open_limits(), make_caller(team)

    async def story() -> None:
        reservation = await limits.reserve(caller, tokens(40), "", NOW)
        assert await limits.hold_more(reservation, tokens=60, cost_nano_usd=0)
        (hold,) = reservation.holds
        assert hold.amount == 100
        (charge,) = limits.settle(reservation, tokens=100, cost_nano_usd=0)
        assert (charge.amount, charge.excess) == (100, 0)

    play(limits, story())
    assert taken(limit) == held(limit) == 100


def test_without_room_in_one_limit_nothing_more_is_held_of_any():
    team = make_team()
    make_limit(team, "tokens", "day", 1000)
    make_limit(team, "tokens", "hour", 50)
    limits, caller = open_limits(), make_caller(team)

    async def story() -> None:
        reservation = await limits.reserve(caller, tokens(40), "", NOW)
        assert not await limits.hold_more(reservation, tokens=11, cost_nano_usd=0)
        assert [hold.share.reserved for hold in reservation.holds] == [40, 40]
        assert await limits.hold_more(reservation, tokens=10, cost_nano_usd=0)

    play(limits, story())


def test_a_request_is_not_counted_twice():
    team = make_team()
    make_limit(team, "requests", "day", 1)
    make_limit(team, "concurrent", "", 1)
    limits, caller = open_limits(), make_caller(team)

    async def story() -> None:
        reservation = await limits.reserve(caller, tokens(40), "", NOW)
        assert await limits.hold_more(reservation, tokens=10, cost_nano_usd=10)
        assert [hold.amount for hold in reservation.holds] == [1, 1]

    play(limits, story())


def test_with_the_database_away_only_what_is_at_hand_is_held():
    team = make_team()
    make_limit(team, "tokens", "day", 10**9)
    store = FailingStore(make_worker().pk)
    limits, caller = Limits(store), make_caller(team)
    limits.replace(load_limits())

    async def story() -> None:
        reservation = await limits.reserve(caller, tokens(40), "", NOW)
        store.fault = "away"
        assert not await limits.hold_more(reservation, tokens=10**8, cost_nano_usd=0)
        store.fault = ""

    play(limits, story())
