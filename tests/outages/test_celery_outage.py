"""Celery and what it waits for go away: no call notices, and the sweeps go on afterwards."""

import os
import shutil
import signal
import time
from collections.abc import Callable

import psycopg
import pytest

from tests.loopback import wait_until
from tests.outages.conftest import SECRET
from tests.outages.steady_load import SteadyLoad, told
from tests.process_family import command_of, family
from tests.redis_server import RedisServer

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
app.send_task(clear_sessions.name)
"""


class Installed:
    """A gateway under load, its Celery, and a task that shows whether it works."""

    def __init__(self, install, postgresql, **environment: str) -> None:
        self._database = postgresql.new_database()
        self.gateway = install(DATABASE_URL=self._database, **environment).start()
        self.load = SteadyLoad(self.gateway, SECRET, "brief", name="load")
        wait_until(lambda: len(self.celery_pids()) >= 2, "Celery and its schedule run")

    def celery_pids(self) -> list[int]:
        return [pid for pid in family(self.gateway.pid) if "-m celery" in command_of(pid)]

    def sweep(self) -> None:
        """Have a task done, through the broker."""
        self.gateway.manage("shell", "--verbosity", "0", "--command", SEND)
        wait_until(self._is_swept, "the task is done", seconds=60)

    def _is_swept(self) -> bool:
        with psycopg.connect(self._database) as server:
            return server.execute("SELECT count(*) FROM django_session").fetchone() == (0,)

    def empty_the_broker(self) -> None:
        shutil.rmtree(self.gateway.data_dir / "broker")


def test_celery_goes_on_though_it_is_killed_and_its_folder_emptied_F31_F36(install, postgresql):
    installed = Installed(install, postgresql)
    with installed.load.going_on():
        installed.sweep()
        installed.empty_the_broker()  # while it runs
        installed.sweep()
        killed = installed.celery_pids()
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        installed.empty_the_broker()
        wait_until(
            lambda: len(set(installed.celery_pids()) - set(killed)) >= 2, "Celery is there again"
        )
        installed.sweep()
    assert told(installed.load.calls).keys() == {(200, "")}, told(installed.load.calls)


def killed(server: RedisServer) -> None:
    server.kill()
    time.sleep(5)
    server.start()


def frozen(server: RedisServer) -> None:
    server.freeze()
    time.sleep(5)
    server.thaw()


def started_empty(server: RedisServer) -> None:
    server.kill()
    server.start()


def test_celery_comes_back_with_its_redis_F25_F27_F36(install, postgresql, redis):
    installed = Installed(install, postgresql, REDIS_URL=redis.url)
    outages: list[Callable[[RedisServer], None]] = [killed, frozen, started_empty]
    with installed.load.going_on():
        installed.sweep()
        for outage in outages:
            outage(redis)
            installed.sweep()
    assert told(installed.load.calls).keys() == {(200, "")}, told(installed.load.calls)
