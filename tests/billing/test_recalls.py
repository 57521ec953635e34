"""What one worker idles on is another's to spend: recalls between workers on one database."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from billing.chunks import Need
from billing.counter_opening import CounterKey
from billing.counters import Answer, Give, Reading, Take
from billing.errors import BudgetExceededError, LimitExceededError
from billing.estimate import Estimate
from billing.limits import Limits
from billing.models import Counter, Holding
from billing.refills import Ask
from keys.caller import Caller
from tests.billing.limit_world import (
    NOW,
    PLAIN,
    QuietStore,
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


def test_a_call_is_given_what_another_worker_idles_on(team, caller):
    limit = make_limit(team, "tokens", "day", 100)
    one, other = open_limits(), open_limits()

    async def story():
        await idle_on(one, caller, 90)
        reservation = await admit(other, caller, tokens(95))
        return reservation.holds[0].amount

    with running(one, other) as runner:
        assert runner.run(story()) == 95
        assert taken(limit) == 95


def test_a_call_without_max_tokens_is_given_all_that_the_limits_can_pay(team, caller):
    make_limit(team, "tokens", "day", 100)
    one, other = open_limits(), open_limits()

    async def story():
        await idle_on(one, caller, 90)
        estimate = tokens(1010, output=1000, adjustable=True)
        return (await admit(other, caller, estimate)).output_tokens

    with running(one, other) as runner:
        assert runner.run(story()) == 90


def test_many_calls_that_lack_the_same_raise_one_recall(team, caller):
    limit = make_limit(team, "tokens", "day", 100)
    one, other = open_limits(), open_limits()

    async def story():
        await idle_on(one, caller, 90)
        return await asyncio.gather(*[admit(other, caller, tokens(5)) for _ in range(20)])

    with running(one, other) as runner:
        assert len(runner.run(story())) == 20
        assert taken(limit) == 100
        # The first call asks alone, the others together.
        assert Counter.objects.get(limit=limit).recalls <= 2


def test_what_running_calls_hold_elsewhere_is_refused_and_may_be_tried_again(team, caller):
    make_limit(team, "tokens", "day", 100)
    one, other = open_limits(), open_limits()

    async def story():
        await admit(one, caller, tokens(90))
        with pytest.raises(LimitExceededError) as refused:
            await admit(other, caller, tokens(20))
        assert refused.value.retry_after_seconds == 1

    with running(one, other) as runner:
        runner.run(story())


def test_what_is_spent_elsewhere_is_refused_without_a_recall(team, caller):
    limit = make_limit(team, "usd", "month", 100)
    one, other = open_limits(), open_limits()

    async def story():
        reservation = await admit(one, caller, Estimate(90, 0, (PLAIN,)))
        one.settle(reservation, tokens=90, cost_nano_usd=90)
        await admit(one, caller, Estimate(5, 0, (PLAIN,)))
        with pytest.raises(BudgetExceededError):
            await admit(other, caller, Estimate(101, 0, (PLAIN,)))

    with running(one, other) as runner:
        runner.run(story())
        assert Counter.objects.get(limit=limit).recalls == 0


def test_a_worker_that_does_not_answer_holds_nobody_up_for_long(team, caller):
    limit = make_limit(team, "tokens", "day", 100)
    worker = make_worker()
    limits = open_limits()

    with running(limits) as runner:
        runner.run(admit(limits, caller, tokens(1)))
        Holding.objects.create(counter=Counter.objects.get(limit=limit), worker=worker, amount=90)
        Counter.objects.filter(limit=limit).update(taken=91)
        with pytest.raises(LimitExceededError):
            runner.run(admit(limits, caller, tokens(50)))


def test_what_others_have_spent_and_not_posted_is_no_running_call(team, caller):
    make_limit(team, "usd", "day", 100)
    one, other = open_limits(), open_limits()
    dear = tokens(60, prices=(PLAIN,))

    async def story():
        reservation = await admit(one, caller, dear)
        with pytest.raises(BudgetExceededError) as while_running:
            await admit(other, caller, dear)
        one.settle(reservation, tokens=60, cost_nano_usd=60)
        with pytest.raises(BudgetExceededError) as afterwards:
            await admit(other, caller, dear)
        return while_running.value.retriable, afterwards.value.retriable

    with running(one, other) as runner:
        assert runner.run(story()) == (True, False)


def test_what_is_given_back_and_taken_again_at_once_is_held_by_a_running_call(team):
    limit = make_limit(team, "tokens", "day", 100)
    key = CounterKey(limit.pk, "", NOW, NOW + timedelta(days=1))
    one, other = QuietStore(make_worker().pk), QuietStore(make_worker().pk)

    async def story():
        whole = Take(key, 0, (Need(0, least=100, full=100),))
        (reading,) = await one.exchange(1, [whole], [])
        assert reading is not None
        # One call has ended and the next one waits: nothing changes but who it is that runs.
        answer = Answer(reading.counter_id, recall=1, running=0)
        await one.exchange(2, [whole], [Give(reading.counter_id, 100)], [answer])
        (seen,) = await other.exchange(3, [Take(key, 0, (Need(0, least=10, full=10),))], [])
        assert seen is not None
        await one.close()
        await other.close()
        return seen.held_by_others, seen.running_elsewhere

    assert asyncio.run(story()) == (100, 100)


def test_a_call_whose_answer_was_taken_by_another_calls_back_what_others_idle_on(team, caller):
    """What it was granted sufficed, so nobody was called back; then somebody was quicker."""
    limit = make_limit(team, "tokens", "day", 100)
    one, third = open_limits(), open_limits()
    store = InterruptedStore(make_worker().pk)
    other = open_limits(store=store)

    async def story():
        for limits, idle in ((one, 60), (third, 10), (other, 20)):
            await hold_idle(limits, caller, idle)
        one._listener.listen()
        store.before[store.exchanges + 2] = third.close
        store.after[store.exchanges + 2] = partial(
            other.reserve_at_once, caller, tokens(15), "", NOW
        )
        return (await admit(other, caller, tokens(40))).holds[0].amount

    with running(one, other) as runner:
        assert runner.run(story()) == 40
        assert Counter.objects.get(limit=limit).recalls == 1


def test_what_a_call_frees_while_a_recall_is_answered_is_given_back_as_well(
    team, caller, monkeypatch
):
    make_limit(team, "tokens", "day", 100)
    one, other = open_limits(), open_limits()

    async def story():
        long = await admit(other, caller, tokens(60))
        # Its end falls between the giving up of what idles and the exchange that answers.
        ended = partial(other.settle, long, tokens=0, cost_nano_usd=0)
        monkeypatch.setattr(other._wallet, "recalled", then(other._wallet.recalled, ended))
        return (await admit(one, caller, tokens(80))).holds[0].amount

    with running(one, other) as runner:
        assert runner.run(story()) == 80


@pytest.mark.parametrize("minutes", [0, 1])
def test_F39_a_call_that_waits_while_its_minute_ends_leaves_nothing_held(team, caller, minutes):
    limit = make_limit(team, "usd", "minute", 100)
    one, other = open_limits(), open_limits()
    later = NOW + timedelta(minutes=minutes)
    sized = Estimate(60, 0, (PLAIN,))

    async def story():
        one.void(await admit(one, caller, sized))
        one._listener.stop()
        waiting = asyncio.create_task(admit(other, caller, sized))
        await asyncio.sleep(0.3)
        next_call = await admit(other, caller, Estimate(1, 0, (PLAIN,)), later)
        other.void(next_call)
        await other.tidy(later)
        one._listener.listen()
        other.void(await waiting)
        for _ in range(5):
            await one.tidy(later)
            await other.tidy(later)

    with running(one, other) as runner:
        runner.run(story())
        assert held(limit) == 0


class InterruptedStore(QuietStore):
    """A store around whose exchanges something else happens, by their numbers."""

    def __init__(self, worker_id: int) -> None:
        super().__init__(worker_id)
        self.exchanges = 0
        self.before: dict[int, Callable[[], Awaitable[None]]] = {}
        self.after: dict[int, Callable[[], object]] = {}

    async def exchange(self, *asked: Any) -> list[Reading | None]:
        self.exchanges += 1
        number = self.exchanges
        if number in self.before:
            await self.before[number]()
        readings = await super().exchange(*asked)
        self.after.get(number, list)()
        return readings


def then(recalled: Callable[[int], None], once: Callable[[], object]) -> Callable[[int], None]:
    """The same, and the first time something that comes right after it."""
    left = [once]

    def recalled_and_more(counter_id: int) -> None:
        recalled(counter_id)
        if left:
            asyncio.get_running_loop().call_soon(left.pop())

    return recalled_and_more


async def hold_idle(limits: Limits, caller: Caller, amount: int) -> None:
    """Have a worker that hears of no recall idle on so much and no more."""
    (slot,) = limits._plans.slots(caller, "")
    share = limits._wallet.share_at(slot, NOW)
    await limits._refills.ask([Ask(share, amount, amount, ahead=False)])
    limits._listener.stop()
