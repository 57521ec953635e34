"""kill -9 of any process at any moment: what a provider finished is on the ledger, once."""

import time
from contextlib import closing
from functools import partial

import pytest

from tests.faults import kills
from tests.faults.conftest import Watched
from tests.faults.history import ended_otherwise, not_once

RECOVERY_SECONDS = 60

# (fault point, and for those of the Celery worker the task that leads there)
GATEWAY_POINTS = [
    "billing.journal:Journal.admit:before",
    "billing.journal:Journal.admit:after",
    "routing.providers.sdk_client:SdkUpstream.ask:after",
    "billing.limits:Limits.settle:after",
    "billing.journal:Journal.finish:before",
    "billing.journal:Journal.finish:after",
    "billing.ledger_writer:LedgerWriter.put:after",
    "billing.ledger:post:before",
    "billing.ledger:post:after",
    "billing.limits:Limits.posted:before",
    "billing.journal:Journal.posted:after",
    "billing.counters:CounterStore.exchange:before",
    "billing.counters:CounterStore.exchange:after",
]
CELERY_POINTS = [
    ("billing.counter_sweep:sweep_counters:before", "billing.sweep_counters"),
    ("billing.counter_sweep:sweep_counters:after", "billing.sweep_counters"),
    ("billing.books:check_books:before", "billing.check_books"),
    ("billing.books:check_books:after", "billing.check_books"),
    ("billing.spend:unpriced_entries:after", "routing.price_unpriced_calls"),
]


def kill_under_load(watched, upstream, calls, planned, killer, *, patience=RECOVERY_SECONDS):
    upstream.seen.clear()
    with closing(killer), kills.under_load(watched) as (load, samples):
        kills.spread(load, calls, planned)
        last_kill = time.monotonic()
    return kills.aftermath(
        watched,
        upstream,
        load,
        samples,
        killer.kills,
        last_kill=last_kill,
        patience_seconds=patience,
    )


def prove(watched: Watched, after: kills.Aftermath, *, killed: int) -> None:
    sample = str(after)
    print(f"\n{sample}")  # noqa: T201 - the proof
    assert len(after.kills) == killed, sample
    recovered = [row for row in after.rows if row.status == "recovered"]
    assert recovered, sample
    assert all(row.cost_nano_usd for row in recovered), sample
    rows = [(row.request_id, row.entry) for row in after.rows]
    assert not_once(after.finished, [r.end_user for r in after.rows if r.entry == 0]) == [], sample
    assert ended_otherwise(watched.events(), rows) == [], sample
    assert after.held == [], sample
    assert after.samples.out_of_balance == [], sample
    assert watched.over_the_ceiling() == [], sample
    assert after.misjudged_streams() == [], sample
    watched.gateway.manage("check_books")


def test_four_kills_over_600_calls_lose_nothing_F30(start, upstream):
    watched = start(kills.config(upstream))
    killer = kills.Killer(watched, seed=1)
    planned = [
        killer.a_worker,
        partial(killer.at, "billing.journal:Journal.finish:before"),
        killer.celery,
        partial(killer.at, "billing.ledger:post:after"),
    ]
    prove(watched, kill_under_load(watched, upstream, 600, planned, killer), killed=4)


@pytest.mark.faults
def test_twenty_kills_over_10000_calls_lose_nothing_F30_F31_G3(start, upstream):
    watched = start(kills.config(upstream))
    killer = kills.Killer(watched, seed=2)
    points = killer.random_points(GATEWAY_POINTS, 5)
    planned = []
    for point, (celery_point, task) in zip(points, CELERY_POINTS, strict=True):
        planned += [
            killer.a_worker,
            partial(killer.at, celery_point, nth=1, task=task),
            partial(killer.at, point),
            killer.celery,
        ]
    prove(watched, kill_under_load(watched, upstream, 10_000, planned, killer), killed=20)


def test_the_same_proof_catches_a_build_that_acknowledges_early(start, upstream):
    broken = start(kills.config(upstream), broken="early_acknowledgement")
    killer = kills.Killer(broken, seed=3)
    planned = [killer.a_worker, killer.a_worker]
    after = kill_under_load(broken, upstream, 300, planned, killer, patience=5)
    assert not_once(after.finished, [row.end_user for row in after.rows]), str(after)
