"""PostgreSQL goes away: known keys go on within what is held for them, and nothing is lost."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import HTTPError
from urllib.request import urlopen

import psycopg
import pytest

from keys.secrets import make_secret
from tests.outages.books import check_books
from tests.outages.conftest import SECRET
from tests.outages.steady_load import Call, Caller, SteadyLoad, told
from tests.postgresql_cluster import PostgreSQLCluster

pytestmark = pytest.mark.once

SHORT, LONG = 10.0, 60.0
BEFORE, AFTER = 4.0, 4.0


@contextmanager
def stopped(cluster: PostgreSQLCluster) -> Iterator[None]:
    cluster.stop_at_once()
    try:
        yield
    finally:
        cluster.start_again()


@contextmanager
def frozen(cluster: PostgreSQLCluster) -> Iterator[None]:
    cluster.freeze()
    try:
        yield
    finally:
        cluster.thaw()


@contextmanager
def crowded(cluster: PostgreSQLCluster) -> Iterator[None]:
    """Too many connections: who was in is put out, and nobody is let in again."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        connection.execute("ALTER ROLE app CONNECTION LIMIT 0")
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'"
        )
        try:
            yield
        finally:
            connection.execute("ALTER ROLE app CONNECTION LIMIT -1")


@pytest.fixture
def gateway(install, postgresql):
    """Not as a superuser, whom no limit on connections would hold off."""
    url = postgresql.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE app LOGIN")
        connection.execute(f"ALTER DATABASE {url.rpartition('/')[2]} OWNER TO app")
    return install(DATABASE_URL=url.replace("//gateway@", "//app@")).start()


def test_known_keys_go_on_while_the_database_is_away_G12_F28(gateway, postgresql, fake_provider):
    load = SteadyLoad(gateway, SECRET, "brief", name="known")
    with load.going_on():
        goes_on(gateway, postgresql, fake_provider, load, stopped, SHORT)


@pytest.mark.faults
def test_known_keys_go_on_while_it_is_stopped_frozen_or_crowded_for_a_minute_G12_F28(
    gateway, postgresql, fake_provider
):
    load = SteadyLoad(gateway, SECRET, "brief", name="known", per_second=5)
    with load.going_on():
        for outage in (stopped, frozen, crowded):
            goes_on(gateway, postgresql, fake_provider, load, outage, LONG)


def goes_on(gateway, postgresql, fake_provider, load: SteadyLoad, outage, seconds: float) -> None:
    time.sleep(BEFORE)
    began = time.monotonic()
    with outage(postgresql):
        unknown, ready = _ask_what_cannot_be_known(gateway, began + seconds)
    time.sleep(AFTER)
    known = load.between(began, time.monotonic())
    print(f"\nPostgreSQL {outage.__name__} for {seconds:g} s: {told(known)}")  # noqa: T201 - the proof
    check_books(gateway, fake_provider, known)
    assert told(unknown).keys() == {(503, "service_unavailable")}, told(unknown)
    assert all(call.retry_after for call in unknown)
    assert ready == {200}
    failed = [call for call in known if call.status != 200]
    assert len(failed) <= len(known) // 1000, told(known)


def _ask_what_cannot_be_known(gateway, until: float) -> tuple[list[Call], set[int]]:
    """Keys that nobody has seen, each another one; and whether the process counts as ready."""
    unknown: list[Call] = []
    ready: set[int] = set()
    while time.monotonic() < until:
        caller = Caller(gateway, make_secret(), "brief")
        unknown.append(caller.call(f"unknown-{len(unknown)}"))
        caller.close()
        ready.add(_status(f"{gateway.base_url}/readyz"))
        time.sleep(1)
    return unknown, ready


def _status(url: str) -> int:
    try:
        with urlopen(url, timeout=10) as answer:  # noqa: S310 - our own loopback address
            return int(answer.status)
    except HTTPError as error:
        return error.code
