import asyncio
import random
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection

from billing.books import check_books
from billing.chunks import Need
from billing.counter_opening import CounterKey
from billing.counters import CounterStore, Give, Take
from billing.ledger import post
from billing.models import Counter, Limit
from tests.billing.ledger_samples import (
    MONTH,
    NEXT_MONTH,
    NOON,
    charge,
    entry,
    hold,
    make_counter,
    make_key,
    make_team,
    make_worker,
)

pytestmark = pytest.mark.django_db(transaction=True)


def run_together(*works: Callable[[], None]) -> list[Exception]:
    """Run each in a thread with a connection of its own; the errors they met."""
    errors: list[Exception] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 – whatever it is, the test shows it
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def take(limit_id: int, counter_id: int) -> Take:
    key = CounterKey(limit_id, "", MONTH, NEXT_MONTH)
    return Take(key, counter_id, (Need(0, least=10, full=10),), ahead=10)


async def exchange(store: CounterStore, operation: int, take: Take, gives: list[Give]) -> None:
    await store.exchange(operation, [take], gives)


def test_workers_that_post_and_take_at_once_neither_deadlock_nor_miscount():
    team = make_team()
    key = make_key(team)
    counters = [make_counter(team, unit) for unit in ("requests", "tokens", "usd")]
    workers = [make_worker(f"w{number}") for number in range(3)]
    for worker in workers:
        for counter in counters:
            counter.refresh_from_db()
            hold(counter, worker, 10**9)

    def poster(number: int) -> Callable[[], None]:
        order = random.Random(number)  # noqa: S311 – an order, not a secret

        def work() -> None:
            for batch in range(12):
                entries = [
                    entry(
                        f"w{number}-{batch}-{n}",
                        team_id=team.id,
                        key_id=key.id,
                        started_at=NOON + timedelta(minutes=order.randrange(60)),
                        end_user=f"u{order.randrange(5)}",
                        tags={"t": str(order.randrange(5))},
                        charges=tuple(
                            charge(counter, amount, excess=order.choice((0, amount)))
                            for counter, amount in zip(counters, (1, 120, 450_000), strict=True)
                        ),
                    )
                    for n in range(15)
                ]
                order.shuffle(entries)
                post(entries, worker_id=workers[number].id)

        return work

    def taker() -> None:
        store = CounterStore(workers[0].id)
        for operation in range(1, 25):
            for counter in counters:
                wanted = take(counter.limit_id, counter.pk)
                asyncio.run(exchange(store, operation, wanted, [Give(counter.pk, 1)]))
        asyncio.run(store.close())

    assert run_together(*(poster(number) for number in range(3)), taker) == []
    assert check_books(None, None) == []


def test_a_counter_opened_while_rows_are_posted_counts_each_of_them_once():
    team, worker = make_team(), make_worker()

    def work() -> None:
        for number in range(40):
            post([entry(f"r{number}", team_id=team.id)], worker_id=None)

    def open_counters() -> None:
        store = CounterStore(worker.id)
        for operation in range(1, 11):
            limit = Limit.objects.create(team=team, unit="tokens", window="month", ceiling=10**9)
            asyncio.run(exchange(store, operation, take(limit.pk, 0), []))
        asyncio.run(store.close())

    assert run_together(work, open_counters) == []
    assert Counter.objects.count() == 10
    assert check_books(None, None) == []
