"""Celery and what it waits for go away: no call notices, and the sweeps go on afterwards."""

import os
import shutil
import signal
import time

import pytest

from tests.loopback import wait_until
from tests.outages.conftest import SECRET
from tests.outages.steady_load import SteadyLoad, told
from tests.process_family import command_of, family

pytestmark = [pytest.mark.faults, pytest.mark.once]

# Sends the task that removes ended sessions, and makes one for it to find.
SEND = """
from datetime import timedelta
from django.contrib.sessions.models import Session
from django.utils import timezone
from gateway_project.celery import app
from gateway_project.tasks import clear_sessions
ended = timezone.now() - timedelta(days=1)
Session.objects.create(session_key="ended", session_data="", expire_date=ended)
clear_sessions.delay()
"""
LEFT = "from django.contrib.sessions.models import Session as S; print('left', S.objects.count())"


def celery_pids(gateway) -> list[int]:
    return [pid for pid in family(gateway.pid) if "-m celery" in command_of(pid)]


def sweep(gateway) -> None:
    """Have a task done, through the broker."""
    gateway.manage("shell", "--verbosity", "0", "-c", SEND)
    wait_until(
        lambda: "left 0" in gateway.manage("shell", "--verbosity", "0", "-c", LEFT),
        "the task is done",
        seconds=60,
    )


def test_celery_is_killed_and_its_folder_emptied_F31_F36(install, postgresql):
    gateway = install(DATABASE_URL=postgresql.new_database()).start()
    load = SteadyLoad(gateway, SECRET, "brief", name="load")
    with load.going_on():
        wait_until(lambda: len(celery_pids(gateway)) >= 2, "Celery and its schedule run")
        sweep(gateway)
        killed = celery_pids(gateway)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(gateway.data_dir / "broker")
        wait_until(
            lambda: len(set(celery_pids(gateway)) - set(killed)) >= 2, "Celery is there again"
        )
        sweep(gateway)
    assert told(load.calls).keys() == {(200, "")}, told(load.calls)


def test_celery_finds_its_folder_emptied_while_it_runs_F36(install, postgresql):
    gateway = install(DATABASE_URL=postgresql.new_database()).start()
    wait_until(lambda: len(celery_pids(gateway)) >= 2, "Celery and its schedule run")
    sweep(gateway)
    shutil.rmtree(gateway.data_dir / "broker")
    sweep(gateway)


@pytest.mark.parametrize("outage", ["killed", "frozen", "flushed"])
def test_celery_comes_back_with_its_redis_F25_F27_F36(install, postgresql, redis, outage):
    gateway = install(DATABASE_URL=postgresql.new_database(), REDIS_URL=redis.url).start()
    load = SteadyLoad(gateway, SECRET, "brief", name="load")
    with load.going_on():
        wait_until(lambda: len(celery_pids(gateway)) >= 2, "Celery and its schedule run")
        sweep(gateway)
        if outage == "frozen":
            redis.freeze()
            time.sleep(5)
            redis.thaw()
        else:
            redis.kill()
            time.sleep(5 if outage == "killed" else 0)
            redis.start()
        sweep(gateway)
    assert told(load.calls).keys() == {(200, "")}, told(load.calls)
