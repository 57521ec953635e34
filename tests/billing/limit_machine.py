"""A state machine over limits: two workers on one real database, and the equations of their books.

It drives them through calls, postings, crashes, edits and new periods, in whatever order, and
checks the equations after every step.
"""

import asyncio
from collections import Counter as Tally
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any, ClassVar, TypeVar

from django.db import transaction
from django.db.models import Sum
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from billing.charging import release_holdings
from billing.entries import Charge, Entry
from billing.errors import BudgetExceededError, LimitExceededError
from billing.estimate import Estimate
from billing.ledger import post
from billing.ledger_use import ledger_use
from billing.limit_edits import change_limit
from billing.limits import Limits, Reservation, load_limits
from billing.models import Counter, Holding, Limit, Unit
from billing.recalls import LISTEN_SECONDS
from keys.caller import Caller
from tests.billing.ledger_samples import entry
from tests.billing.limit_world import (
    NOW,
    PLAIN,
    QuietStore,
    admit,
    make_caller,
    make_limit,
    make_team,
    make_worker,
)

USERS = ["", "alice", "bob"]
SIZES = st.integers(1, 40)
NEW_LIMITS = [("tokens", "hour", 300), ("requests", "hour", 12), ("concurrent", "", 5)]
WORKERS = st.integers(0, 1)
_numbers = count(1)
Result = TypeVar("Result")


@dataclass
class Call:
    """A running call; `holds` is how many of its holds the machine knows of."""

    reservation: Reservation
    end_user: str
    admitted_at: datetime
    holds: int

    def entry(self, caller: Caller, used: int, charges: tuple[Charge, ...]) -> Entry:
        return entry(
            f"call-{next(_numbers)}",
            started_at=self.admitted_at,
            team_id=caller.team_id,
            key_id=caller.key_id,
            end_user=self.end_user,
            input_tokens=used,
            cached_input_tokens=0,
            output_tokens=0,
            cost_nano_usd=used,
            charges=charges,
        )


@dataclass
class Worker:
    """A gateway process as the machine knows it; `journal` is what it has not posted yet."""

    id: int
    store: QuietStore
    limits: Limits
    running: list[Call] = field(default_factory=list)
    journal: list[Entry] = field(default_factory=list)

    def spare(self, counter_id: int) -> int:
        """What its holding has beyond running calls and unposted charges."""
        holding = Holding.objects.filter(worker_id=self.id, counter_id=counter_id).first()
        holds = (hold for call in self.running for hold in call.reservation.holds)
        busy = sum(hold.amount for hold in holds if hold.counter_id == counter_id)
        unposted = sum(c.amount - c.excess for c in self.unposted(counter_id))
        return (holding.amount if holding else 0) - busy - unposted

    def owed(self, counter_id: int) -> int:
        return sum(charge.excess for charge in self.unposted(counter_id))

    def unposted(self, counter_id: int) -> list[Charge]:
        charges = (charge for row in self.journal for charge in row.charges)
        return [charge for charge in charges if charge.counter_id == counter_id]


class Books(RuleBasedStateMachine):
    store_class: ClassVar[type[QuietStore]] = QuietStore

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.now = NOW
        self.granted = Tally[int]()
        self.excess = Tally[int]()
        self.team = make_team(f"team-{next(_numbers)}")
        self.caller = make_caller(self.team)
        make_limit(self.team, "tokens", "minute", 100)
        make_limit(self.team, "usd", "day", 250, key_id=self.caller.key_id)
        make_limit(self.team, "requests", "minute", 4, per="end_user")
        make_limit(self.team, "concurrent", "", 5)
        self.never_edited = set(Limit.objects.filter(team=self.team).values_list("id", flat=True))
        self.workers = [self.hire(), self.hire()]

    def run(self, story: Coroutine[Any, Any, Result]) -> Result:
        """Run a story, and let what the workers' listeners have begun come to its end."""
        result = self.runner.run(story)
        for worker in self.workers:
            worker.store.wait_until_quiet()
        return result

    def hire(self) -> Worker:
        worker_id = make_worker().pk
        store = self.store_class(worker_id)
        limits = Limits(store)
        limits.replace(load_limits())
        return Worker(worker_id, store, limits)

    def teardown(self) -> None:
        """All calls end, all workers close: nothing stays held."""
        for who, worker in enumerate(self.workers):
            while worker.running:
                self.settle(worker, worker.running.pop(), 1)
            self.post_the_journal(who)
            self.runner.run(worker.limits.close())
        self.runner.close()
        self.counters_are_the_ledger_and_what_is_held()
        assert not Holding.objects.filter(worker__in=[worker.id for worker in self.workers])

    @rule(who=WORKERS, size=SIZES, user=st.sampled_from(USERS))
    def call(self, who: int, size: int, user: str) -> None:
        self.admit([(self.workers[who], Estimate(size, 0, (PLAIN,)))], user)

    @rule(size=SIZES, many=st.integers(2, 6), user=st.sampled_from(USERS))
    def calls_at_once(self, size: int, many: int, user: str) -> None:
        estimate = Estimate(size, 0, (PLAIN,))
        self.admit([(self.workers[i % 2], estimate) for i in range(many)], user)

    @rule(who=WORKERS, size=SIZES, output=st.integers(2, 200), user=st.sampled_from(USERS))
    def call_without_max_tokens(self, who: int, size: int, output: int, user: str) -> None:
        estimate = Estimate(size, output, (PLAIN,), choices=2, adjustable=True)
        self.admit([(self.workers[who], estimate)], user)

    @rule(who=WORKERS, share=st.floats(0, 1), beyond=st.sampled_from([0, 0, 0, 7]))
    def end_a_call(self, who: int, share: float, beyond: int) -> None:
        worker = self.workers[who]
        if worker.running:
            call = worker.running.pop(0)
            self.settle(worker, call, int(_bound(call) * share) + beyond)

    @rule(who=WORKERS)
    def void_a_call(self, who: int) -> None:
        worker = self.workers[who]
        if worker.running:
            reservation = worker.running.pop().reservation
            worker.limits.void(reservation)
            for hold in reservation.holds:
                self.granted[hold.counter_id] -= hold.amount

    @rule(who=WORKERS)
    def post_the_journal(self, who: int) -> None:
        worker = self.workers[who]
        post(worker.journal, worker_id=worker.id)
        for row in worker.journal:
            worker.limits.posted(row.charges)
        worker.journal.clear()

    @rule(who=WORKERS)
    def a_second_passes(self, who: int) -> None:
        self.run(self.workers[who].limits.tidy(self.now))
        # A tidying counts what the database could not be told before.
        self.note_new_holds(self.workers[who])

    @rule()
    def a_minute_passes(self) -> None:
        self.now += timedelta(minutes=1)

    @rule(ceiling=st.integers(0, 300), which=st.integers(0, 5))
    def edit_a_ceiling(self, ceiling: int, which: int) -> None:
        rows = list(Limit.objects.filter(team=self.team).order_by("id"))
        limit = change_limit(rows[which % len(rows)], ceiling=ceiling)
        self.never_edited.discard(limit.pk)
        self.reload()

    @precondition(lambda self: Limit.objects.filter(team=self.team).count() < 6)
    @rule(limit=st.sampled_from(NEW_LIMITS), part=st.floats(0, 1))
    def make_a_limit(self, limit: tuple[str, str, int], part: float) -> None:
        """Also one that allows less than what runs."""
        unit, window, most = limit
        made = make_limit(self.team, unit, window, int(most * part))
        Limit.objects.filter(pk=made.pk).update(created_at=self.now)
        self.reload()
        for worker in self.workers:
            self.run(worker.limits.count_running())
            self.note_new_holds(worker)
            assert self.may_be_uncounted() or self.all_is_held(worker)
        # Whoever counted first hears of what others hold beyond the limit.
        self.run(asyncio.sleep(2 * LISTEN_SECONDS))

    @rule(who=WORKERS, share=st.floats(0, 1))
    def crash(self, who: int, share: float) -> None:
        """A worker dies; what recovery does is posting, and releasing in the same transaction."""
        worker = self.workers[who]
        # Death comes without a word.
        worker.limits._listener.stop()
        self.runner.run(worker.store.close())
        for call in worker.running:
            self.settle(worker, call, int(_bound(call) * share))
        with transaction.atomic():
            post(worker.journal, worker_id=worker.id)
            release_holdings(worker.id)
        self.workers[who] = self.hire()

    @invariant()
    def counters_are_the_ledger_and_what_is_held(self) -> None:
        counters = Counter.objects.filter(limit__team=self.team).select_related("limit")
        for counter in counters.exclude(limit__unit=Unit.CONCURRENT):
            period = counter.period_start, counter.period_end
            posted = ledger_use(counter.limit, counter.subject, *period)
            assert counter.taken == posted + _held(counter)
        for counter in counters.filter(limit__unit=Unit.CONCURRENT):
            assert counter.taken == _held(counter)

    @invariant()
    def no_worker_believes_in_more_than_it_holds(self) -> None:
        for counter in Counter.objects.filter(limit__team=self.team):
            for worker in self.workers:
                assert worker.spare(counter.pk) >= 0

    @invariant()
    def no_take_passes_a_ceiling(self) -> None:
        """But for excess, and for limits that were lowered or began above it."""
        for counter in Counter.objects.filter(limit__in=self.never_edited):
            assert counter.taken <= counter.ceiling + self.excess[counter.pk]

    def admit(self, calls: Sequence[tuple[Worker, Estimate]], user: str) -> None:
        """Try calls together; whatever was admitted must fit, whatever was refused must not."""

        async def all_of_them() -> list[Reservation | BaseException]:
            tries = [
                admit(worker.limits, self.caller, estimate, self.now, user)
                for worker, estimate in calls
            ]
            return await asyncio.gather(*tries, return_exceptions=True)

        outcomes = self.run(all_of_them())
        for (worker, _), outcome in zip(calls, outcomes, strict=True):
            if isinstance(outcome, Reservation):
                worker.running.append(Call(outcome, user, self.now, len(outcome.holds)))
                for hold in outcome.holds:
                    self.granted[hold.counter_id] += hold.amount
        for (worker, estimate), outcome in zip(calls, outcomes, strict=True):
            if isinstance(outcome, Reservation):
                self.must_fit(outcome)
            elif not self.may_be_away(outcome):
                assert isinstance(outcome, BudgetExceededError | LimitExceededError), outcome
                self.must_not_fit(worker, estimate, user)

    def may_be_away(self, outcome: BaseException) -> bool:
        return False

    def may_be_uncounted(self) -> bool:
        return False

    def can_give_back(self, worker: Worker) -> bool:
        return True

    def must_fit(self, reservation: Reservation) -> None:
        """All that calls were granted, and did not give back, is within every ceiling."""
        for counter in Counter.objects.filter(pk__in=[h.counter_id for h in reservation.holds]):
            assert self.granted[counter.pk] <= counter.ceiling

    def must_not_fit(self, worker: Worker, estimate: Estimate, user: str) -> None:
        """Some counter has no room for the call, even with all that any worker idles on."""
        able = [w for w in self.workers if w is worker or self.can_give_back(w)]
        least = estimate.input_tokens + (estimate.choices if estimate.adjustable else 0)
        needs = {"requests": 1, "concurrent": 1, "tokens": least, "usd": least}
        counters = Counter.objects.filter(
            limit__team=self.team,
            subject__in=["", user, str(self.caller.key_id)],
            period_start__lte=self.now,
        )
        assert any(
            counter.taken
            + sum(w.owed(counter.pk) - w.spare(counter.pk) for w in able)
            + needs[counter.limit.unit]
            > counter.ceiling
            for counter in counters.exclude(period_end__lte=self.now).select_related("limit")
        )

    def settle(self, worker: Worker, call: Call, used: int) -> None:
        charges = worker.limits.settle(call.reservation, tokens=used, cost_nano_usd=used)
        for hold in call.reservation.holds:
            self.granted[hold.counter_id] -= hold.amount
        for charge in charges:
            self.granted[charge.counter_id] += charge.amount - charge.excess
            self.excess[charge.counter_id] += charge.excess
        worker.journal.append(call.entry(self.caller, used, charges))

    def note_new_holds(self, worker: Worker) -> None:
        for call in worker.running:
            for hold in call.reservation.holds[call.holds :]:
                self.granted[hold.counter_id] += hold.amount
            call.holds = len(call.reservation.holds)

    def all_is_held(self, worker: Worker) -> bool:
        """Whether running calls hold all that they may take of every limit there is."""
        limits = Limit.objects.filter(team=self.team).count()
        return all(
            len(call.reservation.holds) == limits
            and {hold.amount for hold in call.reservation.holds} <= {1, _bound(call)}
            for call in worker.running
        )

    def reload(self) -> None:
        for worker in self.workers:
            worker.limits.replace(load_limits())


def _bound(call: Call) -> int:
    return max(hold.amount for hold in call.reservation.holds if hold.unit in ("tokens", "usd"))


def _held(counter: Counter) -> int:
    return counter.holdings.aggregate(total=Sum("amount"))["total"] or 0
