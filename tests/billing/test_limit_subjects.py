"""Whom a limit binds: a team, a key, each key or each end user."""

import pytest

from billing.errors import LimitExceededError
from tests.billing.limit_world import admit, make_caller, make_limit, open_limits, play, tokens

pytestmark = pytest.mark.django_db(transaction=True)


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
