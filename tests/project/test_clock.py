"""The time is the database's, whatever this machine's clock says. F33."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway_project.runtime import Runtime
from keys.clock import DatabaseClock
from keys.issuing import issue_key
from keys.models import Team
from keys.versions import read_moment, read_version
from routing.gateway_api.handler import GatewayHandler

HOUR, DAY = 3600.0, 86_400.0
START = datetime(2026, 5, 1, 12, tzinfo=UTC).timestamp()


class Clocks:
    """A machine's two clocks, and a database's."""

    def __init__(self) -> None:
        self.wall = self.database = START
        self.monotonic = 5000.0

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.database += seconds
        self.monotonic += seconds

    def now(self) -> datetime:
        """The time that everybody should go by."""
        return datetime.fromtimestamp(self.database, UTC)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def clock(clocks: Clocks) -> DatabaseClock:
    clock = DatabaseClock(lambda: clocks.wall, lambda: clocks.monotonic)
    clock.hear(clocks.database, clocks.monotonic)
    return clock


@pytest.mark.parametrize("step", [HOUR, -HOUR, DAY, -DAY])
def test_F33_a_step_of_the_machines_clock_moves_no_period(clock, clocks, step):
    clocks.wall += step
    clocks.pass_time(30)
    assert clock.now() == clocks.now()
    assert clock.machine_is_off_by() == abs(step)


def test_a_machine_that_was_always_wrong_goes_by_the_database(clocks):
    clocks.wall -= DAY
    clock = DatabaseClock(lambda: clocks.wall, lambda: clocks.monotonic)
    clock.hear(clocks.database, clocks.monotonic)
    assert clock.now() == clocks.now()


def test_time_goes_on_while_the_database_is_away(clock, clocks):
    clocks.pass_time(10 * 60)
    assert clock.now() == clocks.now()


def test_a_sleep_that_stopped_the_monotonic_clock_is_made_up_for(clock, clocks):
    clocks.database += HOUR
    clock.hear(clocks.database, clocks.monotonic)
    assert clock.now() == clocks.now()


def test_less_than_a_second_of_difference_moves_nothing(clock, clocks):
    clock.hear(clocks.database + 0.9, clocks.monotonic)
    assert clock.now() == clocks.now()


def test_a_slow_answer_moves_nothing(clock, clocks):
    asked_at, told = clocks.monotonic, clocks.database
    clocks.pass_time(20)
    clock.hear(told, asked_at)
    assert clock.now() == clocks.now()


@pytest.mark.django_db
def test_the_database_tells_its_time_with_the_version():
    moment = read_moment()
    assert moment.version == read_version()
    assert moment.time == pytest.approx(time.time(), abs=5)


@pytest.mark.django_db(transaction=True)
def test_F33_a_worker_whose_clock_is_an_hour_off_serves_and_is_not_ready(settings, tmp_path):
    settings.JOURNAL_DIR = tmp_path
    _, secret = issue_key(Team.objects.create(name="research"), "ci")
    runtime = Runtime(DatabaseClock(lambda: time.time() + HOUR))

    async def ask() -> tuple[datetime, Any, Any]:
        services = await runtime.start()
        try:
            ready = await _get("/readyz", services, secret)
            served = await _get("/v1/models", services, secret)
            return services.now(), ready, served
        finally:
            await runtime.stop()

    # Not async_to_sync: it would bring the addresses of the gateway back into this thread.
    now, ready, served = asyncio.run(ask())
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)
    assert ready[0] == 503
    assert ready[1]["reason"] == "this machine's clock is not the database's"
    assert served[0] == 200


async def _get(path: str, services: Any, secret: str) -> tuple[int, Any]:
    said: list[Any] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        said.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [
            (b"host", b"localhost"),
            (b"authorization", f"Bearer {secret}".encode()),
        ],
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 80),
        "state": {"services": services},
    }
    await GatewayHandler()(scope, receive, send)
    return said[0]["status"], json.loads(b"".join(part.get("body", b"") for part in said))
