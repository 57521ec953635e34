"""A process that freezes in a transaction holds its locks for seconds, not for ever."""

import time

import psycopg
import pytest

from tests.loopback import wait_until
from tests.outages.conftest import SECRET
from tests.outages.steady_load import SteadyLoad

pytestmark = [pytest.mark.faults, pytest.mark.once]

LOCK_ALL = """
import os, signal
from django.db import transaction
from billing.models import Counter
with transaction.atomic():
    list(Counter.objects.select_for_update())
    os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_F29_counters_locked_by_a_frozen_process_are_free_again_soon(install, postgresql):
    url = postgresql.new_database()
    gateway = install(DATABASE_URL=url).start()
    load = SteadyLoad(gateway, SECRET, "brief", name="load")
    with load.going_on():
        time.sleep(1)
        frozen = gateway.shell(LOCK_ALL)
        try:
            wait_until(lambda: _is_locked(url), "the counters are locked", seconds=30)
            locked_at = time.monotonic()
            time.sleep(20)
        finally:
            frozen.kill()
            frozen.wait()
    late = load.between(locked_at + 15, locked_at + 20)
    assert len(late) > 20
    assert {call.status for call in late} == {200}


def _is_locked(url: str) -> bool:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND state = 'idle in transaction' AND query LIKE '% FOR UPDATE'"
        ).fetchone()
    return bool(row and row[0])
