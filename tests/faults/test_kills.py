"""kill -9 of any process at any moment: what a provider finished is on the ledger, once."""

import os
import time
from contextlib import closing
from functools import partial

import pytest

from billing.corrections import ROWS_AT_ONCE
from tests.fake_provider import FakeProvider
from tests.faults import kills
from tests.faults.conftest import Watched
from tests.faults.history import ended_otherwise, not_once
from tests.faults.injected.points import (
    CELERY_POINTS,
    CORRECTING_TASK,
    CORRECTION_POINTS,
    GATEWAY_POINTS,
)

RECOVERY_SECONDS = 60
PRICE_THE_REST = "from routing.tasks import price_unpriced_calls; price_unpriced_calls()"

CORRECTIONS = [f"{point}:{moment}" for point in CORRECTION_POINTS for moment in ("before", "after")]


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
    assert all(row.cost_nano_usd for row in recovered if not row.end_user.startswith("unpriced")), (
        sample
    )
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
def test_kills_at_every_point_over_10000_calls_lose_nothing_F30_F31_G3_R47(start, upstream):
    watched = start(kills.config(upstream))
    killer = kills.Killer(watched, seed=2)
    # Between them, the runs on both databases strike at both.
    planned = everywhere(killer, "after" if os.environ.get("DATABASE_URL") else "before")
    # By then more calls are unpriced than are priced in one go.
    planned.insert(len(planned) * 3 // 4, partial(between_corrections, watched, upstream, killer))
    after = kill_under_load(watched, upstream, 10_000, planned, killer)
    prove(watched, after, killed=len(planned) - 1 + len(CORRECTIONS))
    # What was recovered since the last run.
    watched.gateway.manage("shell", "--verbosity", "0", "--command", PRICE_THE_REST)
    rows = kills.ledger_rows(watched)
    assert sum(row.status == "correction" for row in rows) > ROWS_AT_ONCE
    priced = [row.request_id for row in rows if row.cost_nano_usd is not None]
    assert not_once({row.request_id for row in rows}, priced) == []
    watched.gateway.manage("check_books")


def everywhere(killer: kills.Killer, moment: str) -> list[kills.Kill]:
    """Before or after every point of gateway and Celery worker, and at random moments."""
    gateway = [partial(killer.at, f"{point}:{moment}") for point in GATEWAY_POINTS]
    celery = [
        partial(killer.at, f"{point}:{moment}", nth=1, task=task)
        for point, task in CELERY_POINTS.items()
    ]
    at_random = [killer.a_worker] * 3 + [killer.celery] * 2
    return killer.shuffled([*gateway, *celery, *at_random])


def between_corrections(watched: Watched, upstream: FakeProvider, killer: kills.Killer) -> None:
    """Armed before there is anything to price, and again at once: no run gets through."""
    first, *others = CORRECTIONS
    killer.arm(first, nth=1)
    kills.make_prices_known(watched, upstream)
    killer.await_strike(first, CORRECTING_TASK)
    for point in others:
        killer.at(point, nth=1, task=CORRECTING_TASK)


def test_the_same_proof_catches_a_build_that_acknowledges_early(start, upstream):
    broken = start(kills.config(upstream), broken="early_acknowledgement")
    killer = kills.Killer(broken, seed=3)
    planned = [killer.a_worker, killer.a_worker]
    after = kill_under_load(broken, upstream, 300, planned, killer, patience=5)
    assert not_once(after.finished, [row.end_user for row in after.rows]), str(after)
