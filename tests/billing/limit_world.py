"""A database with a team, its limits, and gateway workers: what the tests of limits play in."""

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.db import OperationalError, transaction
from django.db.models import F, Sum

from billing.counters import Answer, CounterStore, Give, Reading, Take, UnknownOutcomeError
from billing.entries import Charge
from billing.estimate import Estimate
from billing.limits import Limits, Reservation, load_limits
from billing.models import Counter, Holding, Limit, Worker
from billing.pricing import Price
from keys.caller import Caller
from keys.models import ApiKey, Team

# Far ahead, so that the database too takes its counters for open.
NOW = datetime(2126, 11, 24, 12, 0, 5, tzinfo=UTC)
# One nano-dollar a token, in and out.
PLAIN = Price(id=1, input=1_000_000, output=1_000_000)
Result = TypeVar("Result")


def make_team(name: str = "research", timezone: str = "UTC") -> Team:
    return Team.objects.create(name=name, timezone=timezone)


def make_caller(team: Team, key_name: str = "ci") -> Caller:
    key = ApiKey.objects.create(
        team=team, name=key_name, secret_hash=f"{team.name}/{key_name}", prefix="gw_test"
    )
    return Caller(key.pk, key.name, key.prefix, team.pk, team.name, team.timezone)


def make_limit(team: Team, unit: str, window: str, ceiling: int, **fields: Any) -> Limit:
    """A limit that has been there since before every period of the tests."""
    fields.setdefault("timezone", team.timezone)
    limit = Limit.objects.create(team=team, unit=unit, window=window, ceiling=ceiling, **fields)
    Limit.objects.filter(pk=limit.pk).update(created_at=datetime(2026, 1, 1, tzinfo=UTC))
    return limit


def make_worker() -> Worker:
    name = f"worker-{Worker.objects.count() + 1}"
    return Worker.objects.create(name=name, host="here", journal=name, started_at=NOW)


def tokens(count: int, *, output: int = 0, **fields: Any) -> Estimate:
    return Estimate(input_tokens=count - output, output_tokens=output, **fields)


def post(worker_id: int, charges: tuple[Charge, ...]) -> None:
    """What the ledger does to counters and holdings when it writes the rows of these charges."""
    with transaction.atomic():
        for charge in charges:
            counters = Counter.objects.filter(pk=charge.counter_id)
            counters.update(taken=F("taken") + charge.excess)
            holdings = Holding.objects.filter(counter_id=charge.counter_id, worker_id=worker_id)
            holdings.update(amount=F("amount") - (charge.amount - charge.excess))


def taken(limit: Limit) -> int:
    return Counter.objects.filter(limit=limit).aggregate(total=Sum("taken"))["total"] or 0


def held(limit: Limit) -> int:
    rows = Holding.objects.filter(counter__limit=limit)
    return rows.aggregate(total=Sum("amount"))["total"] or 0


def open_limits(worker: Worker | None = None, *, store: CounterStore | None = None) -> Limits:
    """A worker's limits; close them."""
    limits = Limits(store or CounterStore((worker or make_worker()).pk))
    limits.replace(load_limits())
    return limits


@contextmanager
def running(*opened: Limits) -> Iterator[asyncio.Runner]:
    """An event loop for workers that are there already, which are closed with it."""
    with asyncio.Runner() as runner:
        try:
            yield runner
        finally:
            for limits in opened:
                runner.run(limits.close())


def play(limits: Limits, story: Coroutine[Any, Any, Result]) -> Result:
    """Run a story on an event loop, then close the worker."""
    with running(limits) as runner:
        return runner.run(story)


async def admit(
    limits: Limits, caller: Caller, estimate: Estimate, now: datetime = NOW, end_user: str = ""
) -> Reservation:
    """What the gateway does: memory first, then the database."""
    asked = (caller, estimate, end_user, now)
    return limits.reserve_at_once(*asked) or await limits.reserve(*asked)


async def idle_on(limits: Limits, caller: Caller, count: int) -> None:
    """Have a worker idle on some tokens: what a call held that used nothing."""
    limits.void(await admit(limits, caller, tokens(count)))


class QuietStore(CounterStore):
    """A store that can be waited for: a worker's recalls go on between the steps of a story."""

    def wait_until_quiet(self) -> None:
        self._thread.submit(int).result()


class HangingStore(CounterStore):
    """A store whose database takes an exchange and does not answer until told to go on."""

    def __init__(self, worker_id: int) -> None:
        super().__init__(worker_id)
        self.go_on = threading.Event()
        self.asked = 0

    def _exchange(
        self,
        operation: int,
        takes: Sequence[Take],
        gives: Sequence[Give],
        answers: Sequence[Answer],
    ) -> list[Reading | None]:
        self.asked += 1
        self.go_on.wait()
        return super()._exchange(operation, takes, gives, answers)


class FailingStore(QuietStore):
    """A store whose connection is lost as told, in the next exchange alone or until told again.

    Attributes:
        fault: "" for none; "before" or "after" the next commit, so that nobody knows; "away";
            "after, then away".
    """

    fault = ""

    async def exchange(
        self,
        operation: int,
        takes: Sequence[Take],
        gives: Sequence[Give],
        answers: Sequence[Answer] = (),
    ) -> list[Reading | None]:
        fault, _, then = self.fault.partition(", then ")
        self.fault = "away" if fault == "away" else then
        if fault == "away":
            raise OperationalError("the server is away")
        if fault == "before":
            raise UnknownOutcomeError(
                await self._run(lambda: self._rolled_back(operation, takes, gives))
            )
        readings = await super().exchange(operation, takes, gives, answers)
        if fault == "after":
            raise UnknownOutcomeError(readings)
        return readings

    async def was_committed(
        self, operation: int, limit_ids: Iterable[int], counter_ids: Iterable[int]
    ) -> bool:
        if self.fault == "away":
            raise OperationalError("the server is away")
        return await super().was_committed(operation, limit_ids, counter_ids)

    def _rolled_back(
        self, operation: int, takes: Sequence[Take], gives: Sequence[Give]
    ) -> list[Reading | None]:
        with transaction.atomic():
            readings = self._exchange(operation, takes, gives, ())
            transaction.set_rollback(True)
        return readings
