"""In which order targets are tried."""

from collections import Counter
from random import Random
from typing import Any

import pytest

from keys.errors import InvalidRequestError
from routing.catalogue import Catalogue, Route, Target
from routing.errors import NoTargetAvailableError, UpstreamFailingError, UpstreamRateLimitedError
from routing.health import Health
from routing.selection import candidates
from tests.routing.configs import target


def route(*targets: Target, name: str = "m", strategy: str = "priority", **changes: Any) -> Route:
    fields: dict[str, Any] = {"fallbacks": (), "max_attempts": 3, "max_output_tokens": None}
    return Route(name, strategy, targets, **(fields | changes))


def order(*routes: Route, health: Health | None = None, **changes: Any) -> list[str]:
    fields: dict[str, Any] = {
        "provider": None,
        "price_of": lambda _: None,
        "monotonic": 0.0,
        "random": Random(1),  # noqa: S311 - a repeatable draw
    }
    found = candidates(Catalogue(routes), routes[0], health=health or Health(), **fields | changes)
    return [one.upstream_model for one in found]


def test_the_lowest_priority_number_goes_first_and_equals_keep_their_order():
    targets = [target("c", priority=2), target("a"), target("b")]
    assert order(route(*targets)) == ["a", "b", "c"]


def test_weights_draw_in_proportion():
    targets = [target("a", weight=3), target("b", weight=1), target("c", weight=0)]
    random = Random(7)  # noqa: S311 - a repeatable draw
    firsts = Counter(
        order(route(*targets, strategy="weighted"), random=random)[0] for _ in range(4000)
    )
    assert 2850 < firsts["a"] < 3150
    assert firsts["c"] == 0


def test_a_weight_never_beats_a_priority():
    targets = [target("a", priority=2, weight=1000), target("b", priority=1, weight=1)]
    assert order(route(*targets, strategy="weighted")) == ["b", "a"]


def test_the_fastest_goes_first_and_the_unmeasured_before_it():
    targets = [target("slow"), target("fast"), target("new")]
    health = Health()
    health.succeeded(targets[0], 900, 0)
    health.succeeded(targets[1], 100, 0)
    found = order(route(*targets, strategy="lowest_latency"), health=health)
    assert found == ["new", "fast", "slow"]


def test_the_cheapest_goes_first_and_the_unpriced_last():
    prices = {"dear": 9, "cheap": 1, "unknown": None}
    targets = [target("unknown"), target("dear"), target("cheap")]
    found = order(
        route(*targets, strategy="lowest_cost"), price_of=lambda one: prices[one.upstream_model]
    )
    assert found == ["cheap", "dear", "unknown"]


def test_fallbacks_come_after_in_their_order_and_each_once():
    routes = [
        route(target("a"), fallbacks=("x", "y", "nowhere")),
        route(target("b"), name="x", fallbacks=("y", "m")),
        route(target("c"), target("a"), name="y", fallbacks=("x",)),
    ]
    assert order(*routes) == ["a", "b", "c"]


@pytest.mark.parametrize("choice", ["demo-2", "demo"])
def test_a_caller_may_choose_a_provider_by_name_or_kind(choice: str):
    targets = [target("a"), target("b", provider=2)]
    assert "b" in order(route(*targets), provider=choice)
    assert ("a" in order(route(*targets), provider=choice)) == (choice == "demo")


def test_a_provider_that_the_model_does_not_go_to_is_the_callers_mistake():
    with pytest.raises(InvalidRequestError) as caught:
        order(route(target("a")), provider="elsewhere")
    assert caught.value.param == "provider"


def test_a_cooling_target_is_left_out():
    health, cooling = Health(), target("a")
    health.failed(cooling, UpstreamRateLimitedError("slow", retry_after_seconds=9), 0)
    assert order(route(cooling, target("b")), health=health) == ["b"]


def test_f22_when_all_are_cooling_the_least_wait_is_told():
    health = Health()
    for name, seconds in (("a", 9), ("b", 4)):
        error = UpstreamRateLimitedError("slow", retry_after_seconds=seconds)
        health.failed(target(name), error, 0)
    with pytest.raises(NoTargetAvailableError) as caught:
        order(route(target("a"), target("b")), health=health, monotonic=1.0)
    assert caught.value.retry_after_seconds == 3


def test_f23_after_a_cooling_one_call_probes_and_the_next_goes_elsewhere():
    health = Health()
    for _ in range(5):
        health.failed(target("a"), UpstreamFailingError("no"), 0)
    both = route(target("a"), target("b"))
    assert order(both, health=health, monotonic=31.0) == ["a", "b"]
    assert order(both, health=health, monotonic=31.0) == ["b"]


def test_a_model_without_targets_has_none_available():
    with pytest.raises(NoTargetAvailableError):
        order(route())
