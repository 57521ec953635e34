"""Many calls at once over four workers: exactly what fits is served, and never one more."""

import pytest

from tests.faults import rounds
from tests.faults.conftest import Watched
from tests.loopback import wait_until

RELEASE_SECONDS = 5


@pytest.fixture(scope="module")
def watched(start, upstream) -> Watched:
    return start(rounds.config(upstream, []))


def prove(watched: Watched, played: list[rounds.Round]) -> None:
    wait_until(
        lambda: not watched.database.held(), "nothing is held any more", seconds=RELEASE_SECONDS
    )
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


def test_the_same_proof_catches_a_build_that_checks_and_then_adds(start, upstream):
    broken = start(rounds.config(upstream, []), broken="naive")
    played = rounds.play(broken, upstream, rounds=2, calls=100, fits=23)
    said = "\n".join(map(str, played))
    assert max(r.asked for r in played) > 23, said
    found = broken.over_the_ceiling()
    assert any("calls held" in one for one in found), said
    assert any("were taken" in one for one in found), said
