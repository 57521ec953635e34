"""No space for the journal, or for SQLite: nothing is admitted, what runs ends, and it recovers.

A limit on the size of the worker's files stands for the full disk; it comes and goes while the
worker runs.
"""

import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

import pytest

from tests.loopback import wait_until
from tests.outages.books import check_books
from tests.outages.conftest import SECRET
from tests.outages.steady_load import SteadyLoad, told

pytestmark = [pytest.mark.faults, pytest.mark.once]

UNLIMITED = resource.RLIM_INFINITY


@contextmanager
def no_space(pid: int, most_bytes: int) -> Iterator[None]:
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most_bytes, UNLIMITED))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))


def readiness(gateway) -> dict[str, str]:
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    try:
        connection.request("GET", "/readyz")
        said: dict[str, str] = json.load(connection.getresponse())
    finally:
        connection.close()
    return said


@pytest.fixture(params=["postgresql", "sqlite"])
def gateway(request, install):
    if request.param == "sqlite":
        return install().start()
    server = request.getfixturevalue("postgresql")
    return install(DATABASE_URL=server.new_database()).start()


def test_a_full_disk_stops_admission_and_nothing_else_F32_G21(gateway, fake_provider):
    worker = gateway.worker_pid()
    load = SteadyLoad(gateway, SECRET, "brief", name="load")
    slow = SteadyLoad(gateway, SECRET, "spoken", name="slow", callers=8, per_second=0.01)
    # As much as one page: neither the journal nor SQLite can write a byte more.
    with load.going_on(), slow.going_on():
        fake_provider.wait_for(lambda fake: len(fake.seen_of("spoken")) == 8, "slow calls run")
        time.sleep(1)
        with no_space(worker, 4096):
            full = time.monotonic()
            time.sleep(4)
            assert readiness(gateway)["status"] == "not ready"
            during = load.between(full + 0.5, time.monotonic() - 0.5)
        back = time.monotonic()
        wait_until(
            lambda: any(call.status == 200 for call in load.between(back, back + 30)),
            "calls are admitted again",
            seconds=10,
        )
        wait_until(lambda: readiness(gateway)["status"] == "ready", "readiness", seconds=5)
        time.sleep(1)
    assert gateway.worker_pid() == worker
    assert told(during).keys() == {(503, "service_unavailable")}, told(during)
    assert all(call.retry_after for call in during)
    assert told(slow.calls) == {(200, ""): 8}
    assert told(load.calls).keys() == {(200, ""), (503, "service_unavailable")}
    check_books(gateway, fake_provider, [*load.calls, *slow.calls])
