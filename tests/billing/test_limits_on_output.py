"""A call that names no max_tokens is given what every limit can pay."""

import pytest

from billing.errors import LimitExceededError
from tests.billing.limit_world import PLAIN, admit, make_limit, open_limits, play, tokens

pytestmark = pytest.mark.django_db(transaction=True)


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
