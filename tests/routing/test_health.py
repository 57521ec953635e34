"""When a target is left alone, and for how long."""

from routing.errors import (
    UpstreamAuthError,
    UpstreamError,
    UpstreamFailingError,
    UpstreamOverloadedError,
    UpstreamRateLimitedError,
    UpstreamRefusedRequestError,
)
from routing.health import Health
from tests.routing.configs import target

PLACE = target()
FAILURE = UpstreamFailingError("it failed")


def failing(times: int, at: float = 0, error: UpstreamError = FAILURE) -> Health:
    health = Health()
    for _ in range(times):
        health.failed(PLACE, error, at)
    return health


def test_four_failures_do_not_cool():
    assert failing(4).cooling_for(PLACE, 0) == 0


def test_five_failures_in_a_row_cool_for_thirty_seconds():
    health = failing(5)
    assert health.cooling_for(PLACE, 1) == 29
    assert health.cooling_for(PLACE, 30) == 0


def test_a_success_in_between_starts_the_count_again():
    health = failing(4)
    health.succeeded(PLACE, 10, 0)
    health.failed(PLACE, FAILURE, 0)
    assert health.cooling_for(PLACE, 0) == 0


def test_a_failed_probe_cools_longer_each_time_and_at_most_five_minutes():
    health, now, lengths = failing(5), 30.0, []
    for _ in range(12):
        health.failed(PLACE, FAILURE, now)
        lengths.append(health.cooling_for(PLACE, now))
        now += lengths[-1]
    assert lengths[:3] == [60, 90, 120]
    assert max(lengths) == 300


def test_calls_that_were_under_way_do_not_lengthen_a_cooling():
    assert failing(500).cooling_for(PLACE, 0) == 30


def test_one_request_probes_while_the_others_stay_away():
    health = failing(5)
    assert health.probe_out_for(PLACE, 30) == 0
    health.claim_probe(PLACE, 30)
    assert health.probe_out_for(PLACE, 30) > 0
    health.succeeded(PLACE, 10, 31)
    assert health.probe_out_for(PLACE, 31) == 0


def test_a_probe_that_nothing_is_heard_of_lapses():
    health = failing(5)
    health.claim_probe(PLACE, 30)
    assert health.probe_out_for(PLACE, 35) == 0


def test_nothing_is_claimed_while_all_is_well():
    health = failing(1)
    health.claim_probe(PLACE, 0)
    assert health.probe_out_for(PLACE, 0) == 0


def test_f1_what_a_provider_asks_for_is_honoured_at_once_and_never_shortened():
    health = failing(1, 0, UpstreamRateLimitedError("slow", retry_after_seconds=100))
    health.failed(PLACE, UpstreamRateLimitedError("slow", retry_after_seconds=5), 1)
    health.succeeded(PLACE, 10, 2)
    assert health.cooling_for(PLACE, 2) == 98


def test_an_overloaded_provider_is_left_alone_as_long_as_it_asks():
    error = UpstreamOverloadedError("busy", retry_after_seconds=7)
    assert failing(1, 0, error).cooling_for(PLACE, 0) == 7


def test_a_request_at_fault_says_nothing_against_a_target():
    health = failing(4)
    for _ in range(9):
        health.failed(PLACE, UpstreamRefusedRequestError("no", status=400), 0)
    assert health.cooling_for(PLACE, 0) == 0


def test_f18_a_credential_that_is_refused_cools_its_target():
    assert failing(5, 0, UpstreamAuthError("no")).cooling_for(PLACE, 0) == 30


def test_targets_are_told_apart_by_provider_and_upstream_model():
    health = failing(5)
    assert health.cooling_for(target("other"), 0) == 0
    assert health.cooling_for(target(provider=2), 0) == 0


def test_latency_is_a_moving_average():
    health = Health()
    assert health.latency_ms(PLACE) is None
    health.succeeded(PLACE, 100, 0)
    health.succeeded(PLACE, 200, 0)
    assert health.latency_ms(PLACE) == 120
