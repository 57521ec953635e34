"""kill -9 of any process at any moment: what a provider finished is on the ledger, once."""

import time
from contextlib import closing
from functools import partial

import pytest

from billing.corrections import ROWS_AT_ONCE
from tests.fake_provider import FakeProvider
from tests.faults import kills
from tests.faults.conftest import Watched
from tests.faults.history import ended_otherwise, not_once
from tests.faults.injected.points import CELERY_POINTS, CORRECTION_POINTS, GATEWAY_POINTS

RECOVERY_SECONDS = 60
PRICE_THE_REST = "from routing.tasks import price_unpriced_calls; price_unpriced_calls()"

MOMENTS = ("before", "after")


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
def test_kills_at_every_point_over_10000_calls_lose_nothing_F30_F31_G3(start, upstream):
    watched = start(kills.config(upstream))
    killer = kills.Killer(watched, seed=2)
    planned = everywhere(killer)
    # By then more calls are unpriced than are priced in one go.
    planned.insert(len(planned) * 3 // 4, partial(between_corrections, watched, upstream, killer))
    after = kill_under_load(watched, upstream, 10_000, planned, killer)
    prove(watched, after, killed=len(planned) - 1 + len(MOMENTS) * len(CORRECTION_POINTS))
    # What was recovered since the last run.
    watched.gateway.manage("shell", "--verbosity", "0", "--command", PRICE_THE_REST)
    rows = kills.ledger_rows(watched)
    assert sum(row.status == "correction" for row in rows) > ROWS_AT_ONCE
    assert (
        not_once(
            {r.request_id for r in rows},
            [r.request_id for r in rows if r.cost_nano_usd is not None],
        )
        == []
    )
    watched.gateway.manage("check_books")


def everywhere(killer: kills.Killer) -> list[kills.Kill]:
    """At every point of gateway and Celery worker, and of each five at random moments."""
    gateway = [
        partial(killer.at, f"{point}:{moment}") for point in GATEWAY_POINTS for moment in MOMENTS
    ]
    celery = [
        partial(killer.at, f"{point}:{moment}", nth=1, task=task)
        for point, task in CELERY_POINTS.items()
        for moment in MOMENTS
    ]
    return killer.shuffled([*gateway, *celery, *[killer.a_worker, killer.celery] * 5])


def between_corrections(watched: Watched, upstream: FakeProvider, killer: kills.Killer) -> None:
    """One after the other, so that no run comes through in between."""
    kills.make_prices_known(watched, upstream)
    for point, task in CORRECTION_POINTS.items():
        for moment in MOMENTS:
            killer.at(f"{point}:{moment}", nth=1, task=task)


def test_the_same_proof_catches_a_build_that_acknowledges_early(start, upstream):
    broken = start(kills.config(upstream), broken="early_acknowledgement")
    killer = kills.Killer(broken, seed=3)
    planned = [killer.a_worker, killer.a_worker]
    after = kill_under_load(broken, upstream, 300, planned, killer, patience=5)
    assert not_once(after.finished, [row.end_user for row in after.rows]), str(after)
