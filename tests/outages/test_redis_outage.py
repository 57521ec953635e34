"""Redis goes away: the gateway and the sign-in page go on without what it counts."""

import time
from collections.abc import Callable

import pytest

from keys.secrets import make_secret
from tests.loopback import wait_until
from tests.outages.books import check_books
from tests.outages.conftest import SECRET
from tests.outages.console import Console
from tests.outages.steady_load import Call, SteadyLoad, percentile, told
from tests.redis_server import RedisServer

SHORT, LONG = 5.0, 30.0
BEFORE = 4.0


def kill(server: RedisServer) -> Callable[[], None]:
    server.kill()
    return server.start


def freeze(server: RedisServer) -> Callable[[], None]:
    server.freeze()
    return server.thaw


def restart_empty(server: RedisServer) -> Callable[[], None]:
    server.kill()
    server.start()
    return lambda: None


@pytest.mark.parametrize(
    ("break_it", "seconds"),
    [
        (freeze, SHORT),
        pytest.param(freeze, LONG, marks=pytest.mark.faults),
        pytest.param(kill, SHORT, marks=pytest.mark.faults),
        pytest.param(restart_empty, SHORT, marks=pytest.mark.faults),
    ],
)
def test_nobody_notices_that_redis_is_away_F25_F26_F27(
    install, postgresql, redis, fake_provider, record_property, break_it, seconds
):
    gateway = install(DATABASE_URL=postgresql.new_database(), REDIS_URL=redis.url).start()
    good = SteadyLoad(gateway, SECRET, "brief", name="good")
    # Well-formed and unknown: the same address all the time, so that it is throttled too.
    bad = SteadyLoad(gateway, make_secret(), "brief", name="bad", callers=2, per_second=5)
    with good.going_on(), bad.going_on():
        time.sleep(BEFORE)
        away = time.monotonic()
        mend = break_it(redis)
        pages = _use_the_console(gateway, seconds)
        mend()
        back = time.monotonic()
        wait_until(lambda: _is_throttled(bad), "bad keys are counted again", seconds=8)
        time.sleep(1)
    assert told(good.calls).keys() == {(200, "")}, told(good.calls)
    refused = {(401, "invalid_api_key"), (429, "too_many_failed_keys")}
    assert told(bad.calls).keys() == refused
    assert pages == {"form": {200}, "signed in": {302}}
    for load in (good, bad):
        added = _added_p99(load.between(0, away), load.between(away, back))
        record_property("added_p99_seconds", added)
        # Who waits for a time-out of Redis is one caller in a while, not one in a hundred.
        assert added < 0.25
    check_books(gateway, fake_provider, good.calls)


def _use_the_console(gateway, seconds: float) -> dict[str, set[int]]:
    seen: dict[str, set[int]] = {"form": set(), "signed in": set()}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        seen["form"].add(Console(gateway).get("/admin/login/").status)
        seen["signed in"].add(Console(gateway).sign_in().status)
        # No oftener than an account may within a minute, should it be counted.
        time.sleep(seconds / 4)
    return seen


def _is_throttled(bad: SteadyLoad) -> bool:
    return any(call.status == 429 for call in bad.calls[-20:])


def _added_p99(before: list[Call], during: list[Call]) -> float:
    return percentile(during, 0.99) - percentile(before, 0.99)
