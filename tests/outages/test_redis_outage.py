"""Redis goes away: the gateway and the sign-in page go on without what it counts.

A twin whose Redis is well gets the same calls at the same moments, so that what this machine
does beside the tests is not taken for the outage's doing.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from keys.secrets import make_secret
from tests.loopback import wait_until
from tests.outages.added_time import AddedTime, added_p99
from tests.outages.books import check_books
from tests.outages.conftest import SECRET
from tests.outages.console import Console
from tests.outages.steady_load import Call, SteadyLoad, Stranger, told
from tests.redis_server import RedisServer
from tests.running_gateway import RunningGateway

pytestmark = pytest.mark.once

SHORT, LONG = 5.0, 30.0
BEFORE = 4.0
ADDED_P99_SECONDS = 0.05


@contextmanager
def killed(server: RedisServer) -> Iterator[None]:
    server.kill()
    yield
    server.start()


@contextmanager
def frozen(server: RedisServer) -> Iterator[None]:
    server.freeze()
    yield
    server.thaw()


@contextmanager
def emptied(server: RedisServer) -> Iterator[None]:
    """Started again empty, and emptied again and again from then on."""
    server.kill()
    server.start()
    over = threading.Event()

    def empty() -> None:
        while not over.wait(0.1):
            server.empty()

    emptying = threading.Thread(target=empty)
    emptying.start()
    yield
    over.set()
    emptying.join()


class Watched:
    """A gateway that is called with good keys, with unknown ones, and by browsers."""

    def __init__(self, gateway: RunningGateway, name: str) -> None:
        self.gateway = gateway
        self.good = SteadyLoad(gateway, SECRET, "brief", name=f"{name}-good", per_second=5)
        # Each from an address of its own: none is refused unasked, so each asks Redis.
        self.bad = SteadyLoad(
            gateway, make_secret(), "brief", name=f"{name}-bad", per_second=5, caller=Stranger
        )
        self.forms: list[Call] = []
        self.signed_in: list[int] = []

    def see_the_form(self) -> None:
        began = time.monotonic()
        status = Console(self.gateway).get("/admin/login/").status
        self.forms.append(Call("form", began, time.monotonic() - began, status))

    def sign_in(self) -> None:
        self.signed_in.append(Console(self.gateway).sign_in().status)

    def between(self, start: float, end: float) -> dict[str, list[Call]]:
        return {
            "good keys": self.good.between(start, end),
            "unknown keys": self.bad.between(start, end),
            "sign-in page": self.forms,
        }


@pytest.fixture
def both(install, postgresql, redis, redis_server):
    """One over the Redis that a test breaks, and its twin."""
    installed = [
        install(
            DATABASE_URL=postgresql.new_database(), REDIS_URL=url, TRUSTED_PROXIES="127.0.0.1"
        ).start()
        for url in (redis.url, redis_server.url)
    ]
    return list(zip(("broken", "twin"), installed, strict=True))


def test_nobody_notices_that_redis_is_away_F25_F26_F27(both, redis, fake_provider):
    goes_on(both, redis, fake_provider, frozen, SHORT)


@pytest.mark.faults
def test_nobody_notices_that_redis_is_killed_frozen_or_emptied_for_30_s_F25_F26_F27_G11(
    both, redis, fake_provider
):
    took = [goes_on(both, redis, fake_provider, how, LONG) for how in (killed, frozen, emptied)]
    assert max(one.surely for added in took for one in added) <= ADDED_P99_SECONDS, took


def goes_on(gateways, redis, fake_provider, outage, seconds: float) -> list[AddedTime]:
    """What it added to each kind of call."""
    broken, twin = (Watched(gateway, f"{name}-{outage.__name__}") for name, gateway in gateways)
    with broken.good.going_on(), broken.bad.going_on(), twin.good.going_on(), twin.bad.going_on():
        time.sleep(BEFORE)
        with outage(redis):
            away = time.monotonic()
            _use_the_console(broken, twin, seconds)
            back = time.monotonic()
    added = {
        name: added_p99(calls, twin.between(away, back)[name])
        for name, calls in broken.between(away, back).items()
    }
    said = "".join(f"\n  {name}: {took}" for name, took in added.items())
    print(f"\nRedis {outage.__name__} for {seconds:g} s{said}")  # noqa: T201 - the proof
    assert told(broken.good.calls).keys() == {(200, "")}, told(broken.good.calls)
    assert told(broken.bad.calls).keys() == {(401, "invalid_api_key")}, told(broken.bad.calls)
    assert {call.status for call in broken.forms} == {200}
    assert set(broken.signed_in) == {302}
    _bad_keys_are_counted_again(broken.gateway, f"after-{outage.__name__}")
    check_books(broken.gateway, fake_provider, broken.good.calls)
    return list(added.values())


def _use_the_console(broken: Watched, twin: Watched, seconds: float) -> None:
    until = time.monotonic() + seconds
    sign_in_at = time.monotonic()
    while time.monotonic() < until:
        for watched in (broken, twin):
            watched.see_the_form()
        if time.monotonic() >= sign_in_at:
            # No oftener than an account may within a minute, should it be counted.
            sign_in_at += seconds / 4
            for watched in (broken, twin):
                watched.sign_in()
        time.sleep(0.1)


def _bad_keys_are_counted_again(gateway: RunningGateway, name: str) -> None:
    # The same name each time, so the same address.
    caller = Stranger(gateway, make_secret(), "brief")

    def call() -> Call:
        return caller.call(name)

    wait_until(lambda: call().status == 429, "bad keys are counted again", seconds=30)
    caller.close()
