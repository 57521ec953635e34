"""PostgreSQL ends connections in the middle of anything, also between a commit and its answer."""

import random
import time

import psycopg
import pytest

from tests.outages.books import check_books
from tests.outages.conftest import SECRET
from tests.outages.steady_load import SteadyLoad, told

pytestmark = [pytest.mark.faults, pytest.mark.once]

SECONDS = 12.0
ENDINGS_PER_SECOND = 20


def test_whatever_connection_dies_nothing_is_lost_or_twice_F29_G4(
    install, postgresql, fake_provider
):
    url = postgresql.new_database()
    gateway = install(DATABASE_URL=url).start()
    load = SteadyLoad(gateway, SECRET, "brief", name="load")
    with load.going_on():
        time.sleep(1)
        ended = _end_connections(url, SECONDS)
        time.sleep(2)
    assert ended > 20
    assert told(load.calls).keys() == {(200, "")}, told(load.calls)
    check_books(gateway, fake_provider, load.calls)


def _end_connections(url: str, seconds: float) -> int:
    """One of the gateway's connections after another, at any moment; how many were ended."""
    rng = random.Random(3)  # noqa: S311 - moments, not secrets
    ended = 0
    until = time.monotonic() + seconds
    with psycopg.connect(url, autocommit=True) as connection:
        while time.monotonic() < until:
            time.sleep(rng.random() * 2 / ENDINGS_PER_SECOND)
            # Those that commit first: the outcome is then unknown to the gateway.
            row = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " ORDER BY query ILIKE 'COMMIT%' AND state = 'active' DESC, random() LIMIT 1"
            ).fetchone()
            ended += row is not None
    return ended
