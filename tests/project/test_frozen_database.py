"""A PostgreSQL that is stopped, not gone: it answers nothing, and nothing may wait for it."""

import json
import os
import signal
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from keys.secrets import make_secret
from tests.fake_provider import FakeProvider
from tests.journeys import configuration
from tests.loopback import wait_until
from tests.missing import MissingServiceError
from tests.postgresql_cluster import PostgreSQLCluster
from tests.running_gateway import RunningGateway, running

SECRET = make_secret()
LOOK_UP_SECONDS = 5


@pytest.fixture
def own_cluster() -> Iterator[PostgreSQLCluster]:
    try:
        started = PostgreSQLCluster()
    except MissingServiceError as missing:
        pytest.skip(str(missing))
    yield started
    started.thaw()
    started.stop()


@pytest.fixture
def gateway(
    tmp_path: Path, own_cluster: PostgreSQLCluster, fake_provider: FakeProvider
) -> Iterator[RunningGateway]:
    config = {
        "providers": configuration.providers(fake_provider),
        "models": [configuration.every_behaviour("openai")],
        "prices": [configuration.price("fake-openai")],
        "teams": [configuration.team("team", SECRET)],
    }
    environment = {
        "ALLOW_PRIVATE_UPSTREAMS": f"127.0.0.1:{fake_provider.port}",
        "DATABASE_URL": own_cluster.new_database(),
        "SECRET_KEY": Fernet.generate_key().decode(),
        "CREDENTIAL_KEYS": Fernet.generate_key().decode(),
        "DRAIN_SECONDS": "5",
    }
    installed = RunningGateway(tmp_path / "data", environment=environment, config=config)
    with running(installed):
        try:
            yield installed
        finally:
            own_cluster.thaw()


def get(gateway: RunningGateway, path: str) -> tuple[int, Any]:
    return exchange(gateway, "GET", path, "", SECRET)


def call(gateway: RunningGateway, secret: str) -> int:
    said = {"model": "openai/any", "messages": [{"role": "user", "content": "hi"}]}
    return exchange(gateway, "POST", "/v1/chat/completions", json.dumps(said), secret)[0]


def exchange(
    gateway: RunningGateway, method: str, path: str, body: str, secret: str
) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_F28_a_frozen_database_holds_up_neither_known_keys_nor_readiness_nor_the_end(
    gateway, own_cluster
):
    assert call(gateway, SECRET) == 200
    own_cluster.freeze()
    away = {"status": "ready", "database": "unavailable"}
    wait_until(lambda: get(gateway, "/readyz") == (200, away), "the outage is told")
    assert call(gateway, SECRET) == 200

    began = time.monotonic()
    assert call(gateway, make_secret()) == 503
    assert time.monotonic() - began < LOOK_UP_SECONDS + 3
    began = time.monotonic()
    assert [call(gateway, make_secret()) for _ in range(5)] == [503] * 5
    # Not one look-up's patience for each of them: the first one is still out.
    assert time.monotonic() - began < LOOK_UP_SECONDS

    worker = gateway.worker_pid()
    os.kill(worker, signal.SIGTERM)
    wait_until(lambda: worker not in gateway.worker_pids(), "its end", seconds=60)
    own_cluster.thaw()
    wait_until(lambda: get(gateway, "/readyz") == (200, {"status": "ready"}), "the recovery")
    wait_until(lambda: ledger_rows(gateway) == 2, "the ledger")
    gateway.manage("check_books")


def ledger_rows(gateway: RunningGateway) -> int:
    table = gateway.manage("export_costs", "--from", "2020-01-01", "--to", "2100-01-01")
    return len(table.splitlines()) - 1


def test_known_keys_go_on_when_the_version_moved_just_before(gateway, own_cluster):
    assert call(gateway, SECRET) == 200
    gateway.create_key("team", "another")
    # The edit is heard of within a quarter of a second.
    time.sleep(1)
    own_cluster.freeze()
    assert [call(gateway, SECRET) for _ in range(3)] == [200] * 3
