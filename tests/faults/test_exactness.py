"""Many calls at once over four workers: exactly what fits is served, and never one more."""

from contextlib import suppress

import pytest

from tests.fake_provider import FakeProvider
from tests.faults import rounds
from tests.faults.conftest import Start, Watched
from tests.loopback import wait_until

RELEASE_SECONDS = 5


@pytest.fixture(scope="module")
def watched(start: Start, upstream: FakeProvider) -> Watched:
    return start(rounds.config(upstream))


def nothing_stays_held(watched: Watched) -> None:
    with suppress(TimeoutError):
        wait_until(
            lambda: not watched.database.holdings(), "holdings to go", seconds=RELEASE_SECONDS
        )
    assert watched.database.holdings() == [], f"{RELEASE_SECONDS} s after the last call"


def prove(watched: Watched, played: list[rounds.Round]) -> None:
    nothing_stays_held(watched)
    said = "\n".join(map(str, played))
    events, movements = watched.events(), watched.database.movements()
    sample = f"{len(played)} rounds, {len(events)} events, {len(movements)} counter movements"
    print(f"\n{said}\n{sample}: nothing over a ceiling at any instant")  # noqa: T201 - the proof
    assert watched.over_the_ceiling() == [], sample
    assert [r.asked for r in played] == [r.fits for r in played], said
    assert [r.served for r in played] == [r.fits for r in played], said
    assert watched.database.out_of_balance() == [], sample


def test_a_budget_for_k_calls_serves_k_of_100_G1(watched, upstream):
    prove(watched, rounds.play(watched, upstream, rounds=2, calls=100, fits=23))


@pytest.mark.faults
def test_a_budget_for_k_calls_serves_k_of_500_in_each_of_20_rounds_G1(watched, upstream):
    prove(watched, rounds.play(watched, upstream, rounds=20, calls=500, fits=67))


def test_a_budget_for_5_calls_lets_5_of_50_through_that_would_each_hold_all_of_it(
    watched, upstream
):
    told = rounds.story(watched, upstream, calls=50, fits=5, provider_seconds=0.3)
    prove(watched, [told])


@pytest.mark.faults
def test_a_budget_for_20_calls_lets_20_of_200_through_and_never_a_21st_G1_G2(watched, upstream):
    told = rounds.story(watched, upstream, calls=200, fits=20, provider_seconds=2)
    prove(watched, [told])


def test_the_same_proof_catches_a_build_that_checks_and_then_adds(start, upstream):
    broken = start(rounds.config(upstream), broken="naive")
    played = rounds.play(broken, upstream, rounds=1, calls=100, fits=23, patience_seconds=1)
    said = "\n".join(map(str, played))
    found = broken.over_the_ceiling()
    assert any("calls held" in one for one in found), said
    assert any("were taken" in one for one in found), said
