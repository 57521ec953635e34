"""What a gateway process stands on is taken away: its journal, its row, its database."""

import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http.client import HTTPException
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.fake_provider import Behaviour, FakeProvider
from tests.loopback import wait_until
from tests.missing import MissingServiceError
from tests.postgresql_cluster import PostgreSQLCluster
from tests.project.test_supervision import configured, statuses, stream
from tests.running_gateway import RunningGateway, running


@pytest.fixture
def upstream(fake_provider: FakeProvider) -> FakeProvider:
    fake_provider.script("openai/spoken", Behaviour(words=10, word_seconds=0.3))
    fake_provider.script("openai/long", Behaviour(words=90, word_seconds=1.0))
    return fake_provider


@pytest.fixture
def gateway(tmp_path: Path, upstream: FakeProvider) -> Iterator[RunningGateway]:
    with running(configured(tmp_path, upstream)) as started:
        yield started


@pytest.fixture
def own_cluster() -> Iterator[PostgreSQLCluster]:
    try:
        started = PostgreSQLCluster()
    except MissingServiceError as missing:
        pytest.skip(str(missing))
    yield started
    started.stop()


def test_a_call_whose_journal_was_removed_is_recovered_after_a_kill(gateway, upstream):
    with ThreadPoolExecutor(1) as pool:
        cut = pool.submit(stream, gateway, "openai/long")
        upstream.wait_for(lambda fake: fake.seen, "the stream")
        shutil.rmtree(gateway.data_dir / "journal")
        wait_until(lambda: "journal_was_removed" in gateway.output, "the journal made anew")
        assert "[DONE]" in stream(gateway, "openai/any")
        gateway.kill()
        with suppress(OSError, HTTPException):
            cut.result()
    gateway.start()
    assert sorted(statuses(gateway)) == ["ok", "recovered"]
    gateway.manage("check_books")


def test_a_worker_whose_row_is_gone_is_replaced(gateway, upstream):
    old = gateway.worker_pid()
    with ThreadPoolExecutor(1) as pool:
        spoken = pool.submit(stream, gateway, "openai/spoken")
        upstream.wait_for(lambda fake: fake.seen, "the stream")
        with closing(sqlite3.connect(gateway.data_dir / "gateway.sqlite3")) as foreign:
            # As in an older copy of the database, which knows nothing of this worker.
            foreign.execute("DELETE FROM billing_holding")
            foreign.execute("DELETE FROM billing_worker")
            foreign.commit()
        wait_until(lambda: bool(set(gateway.worker_pids()) - {old}), "another worker", seconds=60)
        assert "[DONE]" in stream(gateway, "openai/any")
        assert spoken.result().endswith("data: [DONE]\n\n")
    wait_until(lambda: statuses(gateway) == ["ok", "ok"], "both on the ledger")
    gateway.manage("check_books")


def test_a_worker_that_lapsed_is_replaced(gateway):
    old = gateway.worker_pid()
    with closing(sqlite3.connect(gateway.data_dir / "gateway.sqlite3")) as foreign:
        # As another host does that did not see it for long.
        (seen_at,) = foreign.execute("SELECT seen_at FROM billing_worker").fetchone()
        foreign.execute("UPDATE billing_worker SET lapsed_at = seen_at")
        foreign.commit()
    assert seen_at is not None
    wait_until(lambda: bool(set(gateway.worker_pids()) - {old}), "another worker", seconds=60)
    wait_until(lambda: old not in gateway.worker_pids(), "the end of the old one")
    assert "[DONE]" in stream(gateway, "openai/any")
    with closing(sqlite3.connect(gateway.data_dir / "gateway.sqlite3")) as foreign:
        rows = foreign.execute("SELECT lapsed_at FROM billing_worker").fetchall()
    assert rows == [(None,)]
    gateway.manage("check_books")


def test_a_worker_waits_for_a_database_that_is_away_when_it_starts(tmp_path, upstream, own_cluster):
    installed = configured(
        tmp_path,
        upstream,
        DATABASE_URL=own_cluster.new_database(),
        SECRET_KEY=Fernet.generate_key().decode(),
        CREDENTIAL_KEYS=Fernet.generate_key().decode(),
    )
    with running(installed) as gateway:
        own_cluster.stop_at_once()
        before = len(gateway.output)
        gateway.kill_worker()

        def said() -> str:
            return gateway.output[before:]

        wait_until(lambda: said().count("waiting_for_database") >= 5, "a worker that waits")
        assert said().count("starting it again") == 1
        lines = [line for line in said().splitlines() if "waiting_for_database" in line]
        assert all("Traceback" not in line and "refused" in line for line in lines)
        own_cluster.start_again()
        assert "[DONE]" in stream(gateway, "openai/any")
