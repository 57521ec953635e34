"""The counters in the database: workers take from them, and give back.

One transaction moves counter and holding together, so that at every moment

    taken = ledger of the period + what all workers hold (+ excess that providers reported)

and no take passes the ceiling, on SQLite and PostgreSQL alike. (Calls that ran before a limit was
made hold what they hold.) Rows are locked limits first, then counters, then holdings, each by id:
whoever else locks them must keep that order.

When the database fails, nothing was taken. When it fails so late that nobody can say, the
worker asks again (`was_committed`) before it believes anything.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from django.db import Error, IntegrityError, connection, transaction
from django.db.models import F

from billing import models
from billing.chunks import Need, Pot, meet
from billing.counter_opening import CounterKey, find_or_open, lock_limits
from billing.ledger_use import ledger_use
from billing.limit_rules import LimitRule
from billing.periods import Period

Result = TypeVar("Result")

# A deadlock, or a server that was restarted under an idle connection, deserves one more try.
# SQLite has neither, and its own waiting is behind us when it gives up.
_TRIES = {"postgresql": 2}


@dataclass(frozen=True, slots=True)
class Take:
    """What a worker asks of a counter.

    Attributes:
        counter_id: 0 while it is not known; the counter is then found or made.
        needs: of the calls at hand.
        idle: what the worker has for them already.
        ahead: what it would like beyond them.
        running: what running calls hold already; granted whatever the ceiling, and others are
            called back where it passes it.
        owed: excess that the worker will add when it posts; not to be granted any more.
        exact: call back what other workers idle on, whether or not anything is lacking.
    """

    key: CounterKey
    counter_id: int
    needs: tuple[Need, ...] = ()
    idle: int = 0
    ahead: int = 0
    running: int = 0
    owed: int = 0
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Give:
    counter_id: int
    amount: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A recall that was heard: all that idled is given back, and running calls hold the rest.

    Attributes:
        running: how much of the counter this worker's running calls hold.
    """

    counter_id: int
    recall: int
    running: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A counter after a take.

    Attributes:
        granted: what calls need is granted whole or not at all, of all its counters together.
        recalls, heard: how often idle units were called back, this time included, and up to which
            of these recalls all other holders have answered.
        running_elsewhere: the part of `held_by_others` that running calls may hold. What is
            spent and not yet posted is known not to be only since the last recall.
        alone: no other worker is registered.
    """

    counter_id: int
    granted: int
    taken: int
    ceiling: int
    held_by_others: int
    running_elsewhere: int
    recalls: int
    heard: int
    alone: bool


@dataclass(frozen=True, slots=True)
class Recalled:
    """Counters whose idle units other workers need, with the number of the recall.

    Attributes:
        alone: no other worker is registered.
    """

    recalls: dict[int, int]
    alone: bool


class UnknownOutcomeError(Exception):
    """The connection was lost around the commit.

    Attributes:
        readings: what holds if the exchange turns out to be committed.
    """

    def __init__(self, readings: list[Reading | None]) -> None:
        super().__init__("It is not known whether the exchange was committed.")
        self.readings = readings


class CounterStore:
    """One worker's way to the counters: a thread of its own, with a connection of its own."""

    def __init__(self, worker_id: int) -> None:
        self.worker_id = worker_id
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="counters")

    async def exchange(
        self,
        operation: int,
        takes: Sequence[Take],
        gives: Sequence[Give],
        answers: Sequence[Answer] = (),
    ) -> list[Reading | None]:
        """Give back, then take, in one transaction.

        Args:
            operation: any number that no earlier exchange had.
            answers: recalls that were heard, in order of counters: all that idled is among
                `gives`.

        Returns:
            A reading for each take; None where the limit is gone.

        Raises:
            django.db.Error: nothing was given or taken.
            UnknownOutcomeError: see `was_committed`.
        """
        return await self._run(lambda: self._exchange(operation, takes, gives, answers))

    async def was_committed(
        self, operation: int, limit_ids: Iterable[int], counter_ids: Iterable[int]
    ) -> bool:
        """Whether an exchange of unknown outcome was committed.

        Waits for its transaction to end, should the server still be at it.
        """
        return await self._run(lambda: self._was_committed(operation, limit_ids, counter_ids))

    async def recalled(self) -> Recalled:
        """What other workers have called back and this one has not answered."""
        return await self._run(self._recalled)

    async def used_in_ledger(self, rule: LimitRule, subject: str, period: Period) -> int:
        """What a limit's subject used, by the ledger alone."""
        return await self._run(lambda: ledger_use(rule, subject, period.start, period.end))

    async def close(self) -> None:
        """Forget holdings that are nothing, and end the thread."""
        try:
            await self._run(self._forget_empty_holdings)
        finally:
            self._thread.shutdown()

    async def _run(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, _try, work)

    def _exchange(
        self,
        operation: int,
        takes: Sequence[Take],
        gives: Sequence[Give],
        answers: Sequence[Answer],
    ) -> list[Reading | None]:
        readings: list[Reading | None] = []
        moved = False
        try:
            with transaction.atomic():
                counter_ids = find_or_open([take.key for take in takes if not take.counter_id])
                ids = [take.counter_id or counter_ids.get(take.key, 0) for take in takes]
                counters = _lock(set(ids), gives)
                changes = {give.counter_id: -give.amount for give in gives}
                others = self._held_by_others(counters)
                asked = [(take, counters.get(i)) for take, i in zip(takes, ids, strict=True)]
                readings = _readings(asked, changes, others, alone=self._is_alone())
                read = [reading for reading in readings if reading]
                self._note_recalls([r for r in read if r.recalls > counters[r.counter_id].recalls])
                self._note_answers(answers)
                granted = {reading.counter_id: reading.granted for reading in read}
                moved = self._move(operation, changes, granted, counters)
        except Error as error:
            if moved:
                raise UnknownOutcomeError(readings) from error
            raise
        return readings

    def _held_by_others(self, counter_ids: Iterable[int]) -> dict[int, "_Others"]:
        rows = models.Holding.objects.filter(counter_id__in=counter_ids, amount__gt=0)
        others: dict[int, _Others] = defaultdict(_Others)
        for row in rows.exclude(worker_id=self.worker_id):
            others[row.counter_id].add(row)
        return others

    def _note_recalls(self, readings: Iterable[Reading]) -> None:
        for counter_id in sorted(reading.counter_id for reading in readings):
            models.Counter.objects.filter(id=counter_id).update(recalls=F("recalls") + 1)

    def _note_answers(self, answers: Iterable[Answer]) -> None:
        holdings = models.Holding.objects.filter(worker_id=self.worker_id)
        for answer in answers:
            holding = holdings.filter(counter_id=answer.counter_id)
            holding.update(answered=answer.recall, running=answer.running)

    def _recalled(self) -> Recalled:
        with connection.cursor() as cursor:
            cursor.execute(_UNANSWERED, (self.worker_id,))
            return Recalled(recalls=dict(cursor.fetchall()), alone=self._is_alone())

    def _is_alone(self) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(_ANOTHER_WORKER, (self.worker_id,))
            return cursor.fetchone() is None

    def _move(
        self,
        operation: int,
        given_back: Mapping[int, int],
        granted: Mapping[int, int],
        counters: Iterable[int],
    ) -> bool:
        """Write what was given and taken of these counters; whether there was anything to write.

        What is granted counts as held by running calls until this worker says otherwise, also
        where it is as much as was given back.
        """
        worker = self.worker_id
        granted = {i: granted.get(i, 0) for i in counters}
        changes = [(i, granted[i] + given_back.get(i, 0)) for i in sorted(granted)]
        moves = [(i, change) for i, change in changes if change or granted[i]]
        with connection.cursor() as cursor:
            if moves:
                cursor.executemany(_MOVE_COUNTER, [(change, i) for i, change in moves])
            taken = [(i, n, granted[i], operation, worker) for i, n in moves if n > 0]
            given = [(n, granted[i], operation, i, worker) for i, n in moves if n <= 0]
            for statement, rows in ((_RAISE_HOLDING, taken), (_LOWER_HOLDING, given)):
                if rows:
                    cursor.executemany(statement, rows)
                    if cursor.rowcount != len(rows):
                        # Somebody took this worker for dead, and gave back what it held.
                        raise IntegrityError("This worker lapsed, or a holding of it is gone.")
        return bool(moves)

    def _was_committed(
        self, operation: int, limit_ids: Iterable[int], counter_ids: Iterable[int]
    ) -> bool:
        with transaction.atomic():
            lock_limits(limit_ids)
            counters = _lock(set(counter_ids), ())
            holdings = models.Holding.objects.filter(worker_id=self.worker_id)
            return holdings.filter(counter_id__in=counters, operation=operation).exists()

    def _forget_empty_holdings(self) -> None:
        models.Holding.objects.filter(worker_id=self.worker_id, amount=0).delete()
        connection.close()


# As text: every worker that holds anything asks both several times a second.
_UNANSWERED = """
    SELECT counter.id, counter.recalls
    FROM billing_holding holding JOIN billing_counter counter ON counter.id = holding.counter_id
    WHERE holding.worker_id = %s AND holding.amount > 0 AND holding.answered < counter.recalls
"""
_ANOTHER_WORKER = "SELECT 1 FROM billing_worker WHERE id <> %s LIMIT 1"
_MOVE_COUNTER = "UPDATE billing_counter SET taken = taken + %s WHERE id = %s"
_RAISE_HOLDING = """
    INSERT INTO billing_holding (counter_id, worker_id, amount, running, operation)
    SELECT %s, id, %s, %s, %s FROM billing_worker WHERE id = %s AND lapsed_at IS NULL
    ON CONFLICT (counter_id, worker_id) DO UPDATE
    SET amount = billing_holding.amount + excluded.amount,
        running = billing_holding.running + excluded.running,
        operation = excluded.operation
"""
_LOWER_HOLDING = """
    UPDATE billing_holding SET amount = amount + %s, running = running + %s, operation = %s
    WHERE counter_id = %s AND worker_id = %s
"""


def _lock(ids: set[int], gives: Sequence[Give]) -> dict[int, models.Counter]:
    wanted = ids | {give.counter_id for give in gives}
    rows = models.Counter.objects.select_for_update(no_key=True).order_by("id")
    return {counter.pk: counter for counter in rows.filter(id__in=wanted)}


@dataclass(slots=True)
class _Others:
    """What the other workers hold of a counter; `heard` is at most the counter's recalls."""

    held: int = 0
    running: int = 0
    heard: int | None = None

    def add(self, holding: models.Holding) -> None:
        self.held += holding.amount
        self.running += min(holding.running, holding.amount)
        answered = holding.answered
        self.heard = answered if self.heard is None else min(self.heard, answered)


def _readings(
    asked: Sequence[tuple[Take, models.Counter | None]],
    changes: Mapping[int, int],
    others: Mapping[int, _Others],
    *,
    alone: bool,
) -> list[Reading | None]:
    """Grant what can be granted, and tell it.

    Args:
        changes: to each counter, by what this worker gives back.
    """
    pots = [
        _pot(take, counter, changes.get(counter.pk, 0)) if counter else None
        for take, counter in asked
    ]
    meet(
        (pot, need)
        for (take, _), pot in zip(asked, pots, strict=True)
        if pot is not None
        for need in take.needs
    )
    nobody = _Others()
    return [
        _reading(take, counter, pot, others.get(counter.pk, nobody), alone)
        if counter and pot
        else None
        for (take, counter), pot in zip(asked, pots, strict=True)
    ]


def _pot(take: Take, counter: models.Counter, change: int) -> Pot:
    taken = counter.taken + change + take.running
    return Pot(idle=take.idle, room=counter.ceiling - taken - take.owed)


def _reading(
    take: Take, counter: models.Counter, pot: Pot, others: _Others, alone: bool
) -> Reading:
    pot.take_ahead(take.ahead, alone=not others.held)
    is_over = take.running and pot.room < 0
    calls_back = bool(others.held) and (take.exact or pot.calls_back or is_over)
    recalls = counter.recalls + calls_back
    return Reading(
        counter_id=counter.pk,
        granted=take.running + pot.granted,
        taken=counter.ceiling - pot.room - take.owed,
        ceiling=counter.ceiling,
        held_by_others=others.held,
        running_elsewhere=others.running,
        recalls=recalls,
        heard=recalls if others.heard is None else others.heard,
        alone=alone,
    )


def _try(work: Callable[[], Result]) -> Result:
    for _ in range(_TRIES.get(connection.vendor, 1) - 1):
        try:
            return work()
        except Error:
            connection.close()
    try:
        return work()
    except (Error, UnknownOutcomeError):
        # A connection that failed is never used again.
        connection.close()
        raise
