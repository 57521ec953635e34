"""Who has not called for long is forgotten, and comes back as if it were new."""

import pytest

from billing.wallet import UNUSED_TIDYINGS
from tests.billing.limit_world import (
    NOW,
    admit,
    held,
    make_caller,
    make_limit,
    make_worker,
    open_limits,
    post,
    running,
    tokens,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("window", ["day", "total"])
def test_keys_that_do_not_call_any_more_take_no_memory(team, window):
    limit = make_limit(team, "tokens", window, 1000, per="key")
    worker = make_worker()
    limits = open_limits(worker)
    callers = [make_caller(team, f"key-{number}") for number in range(20)]

    async def nobody_calls():
        for _ in range(2 * UNUSED_TIDYINGS):
            await limits.tidy(NOW)

    with running(limits) as runner:
        for caller in callers:
            call = runner.run(admit(limits, caller, tokens(5)))
            charges = limits.settle(call, tokens=5, cost_nano_usd=0)
            post(worker.pk, charges)
            limits.posted(charges)
        staying = runner.run(admit(limits, callers[0], tokens(5)))
        runner.run(nobody_calls())
        assert len(limits._wallet._slots) == len(limits._wallet._shares) == 1
        limits.void(staying)
        runner.run(nobody_calls())
        assert not limits._wallet._slots
        back = runner.run(admit(limits, callers[7], tokens(995)))
        assert back.holds[0].amount == 995
        limits.void(back)
    assert held(limit) == 0
