"""Whatever happens, in whatever order: the books balance and no ceiling is passed.

The same machine is also shown a naive store, and must catch it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest
from django.db.models import F
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from billing import recalls
from billing.chunks import Pot, meet
from billing.counters import Answer, Give, Reading, Take
from billing.estimate import Estimate
from billing.models import Counter, Holding
from keys.errors import ServiceUnavailableError
from tests.billing.limit_machine import WORKERS, Books, Worker
from tests.billing.limit_world import FailingStore, QuietStore

pytestmark = pytest.mark.django_db(transaction=True)

FAULTS = ["before", "before, then away", "after", "after, then away", "away", ""]


@pytest.fixture(autouse=True)
def _recalls_are_quick(monkeypatch):
    """A machine refuses a thousand calls: nobody need wait for a real quarter of a second."""
    monkeypatch.setattr(recalls, "LISTEN_SECONDS", 0.005)
    monkeypatch.setattr(recalls, "FIRST_PAUSE_SECONDS", 0.005)
    monkeypatch.setattr(recalls, "LONGEST_PAUSE_SECONDS", 0.02)


class FailingBooks(Books):
    """The same, while the database fails before, at and after commits."""

    store_class = FailingStore

    @rule(who=WORKERS, fault=st.sampled_from(FAULTS))
    def fail(self, who: int, fault: str) -> None:
        store = self.workers[who].store
        assert isinstance(store, FailingStore)
        store.fault = fault

    def may_be_away(self, outcome: BaseException) -> bool:
        return isinstance(outcome, ServiceUnavailableError)

    def may_be_uncounted(self) -> bool:
        return True

    def admit(self, calls: Sequence[tuple[Worker, Estimate]], user: str) -> None:
        # A fault that strikes while a worker gives back is over when the outcomes are judged.
        self.struck = {worker.id for worker in self.workers if self._has_fault(worker)}
        super().admit(calls, user)

    def can_give_back(self, worker: Worker) -> bool:
        return worker.id not in self.struck and not self._has_fault(worker)

    def _has_fault(self, worker: Worker) -> bool:
        assert isinstance(worker.store, FailingStore)
        return bool(worker.store.fault)

    def teardown(self) -> None:
        for who in range(len(self.workers)):
            self.fail(who, "")
        super().teardown()


class NaiveStore(QuietStore):
    """Looks whether there is room, and then takes: what everybody writes first."""

    async def exchange(
        self,
        operation: int,
        takes: Sequence[Take],
        gives: Sequence[Give],
        answers: Sequence[Answer] = (),
    ) -> list[Reading | None]:
        looks = [replace(take, needs=(), ahead=0) for take in takes]
        seen = await super().exchange(operation, looks, gives, answers)
        await asyncio.sleep(0.01)
        pairs = zip(takes, seen, strict=True)
        return [await self._run(partial(self._add, take, reading)) for take, reading in pairs]

    def _add(self, take: Take, reading: Reading | None) -> Reading | None:
        if reading is None:
            return None
        room = reading.ceiling - reading.taken
        pot = Pot(take.idle, room)
        meet((pot, need) for need in take.needs)
        granted = pot.granted
        Counter.objects.filter(pk=reading.counter_id).update(taken=F("taken") + granted)
        holding, _ = Holding.objects.get_or_create(
            counter_id=reading.counter_id, worker_id=self.worker_id, defaults={"amount": 0}
        )
        Holding.objects.filter(pk=holding.pk).update(amount=F("amount") + granted)
        return replace(reading, granted=granted, taken=reading.taken + granted)


class NaiveBooks(Books):
    store_class = NaiveStore


OPTIONS = settings(
    max_examples=10,
    stateful_step_count=30,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    # A failure is told as it came: shrinking it on a database takes minutes.
    phases=[Phase.explicit, Phase.generate],
)


MANY = settings(OPTIONS, max_examples=30)


@pytest.fixture
def _giving_up_is_quick(monkeypatch):
    """A worker without a database cannot give back: not worth a whole second each time."""
    monkeypatch.setattr(recalls, "LONGEST_WAIT_SECONDS", 0.3)


def test_books_balance_and_no_ceiling_is_passed():
    run_state_machine_as_test(Books, settings=OPTIONS)


@pytest.mark.usefixtures("_giving_up_is_quick")
def test_books_balance_while_commits_fail_and_nobody_knows():
    run_state_machine_as_test(FailingBooks, settings=OPTIONS)


@pytest.mark.faults
@pytest.mark.once
def test_books_balance_over_thirty_stories():
    run_state_machine_as_test(Books, settings=MANY)


@pytest.mark.faults
@pytest.mark.once
@pytest.mark.usefixtures("_giving_up_is_quick")
def test_books_balance_over_thirty_stories_of_failing_commits():
    run_state_machine_as_test(FailingBooks, settings=MANY)


def test_the_same_machine_catches_a_naive_store():
    with pytest.raises(AssertionError):
        run_state_machine_as_test(NaiveBooks, settings=settings(OPTIONS, derandomize=True))
