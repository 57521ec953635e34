"""How often the gateway asks its database, counted by the database itself.

PostgreSQL counts statements (pg_stat_statements), SQLite does not; the code paths are the same.
A short run of the product on a cluster of its own, where PostgreSQL is installed.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

import psycopg
from cryptography.fernet import Fernet

from benchmarks.contenders import Contender, bench_config
from benchmarks.load import drive
from benchmarks.processes import Program
from keys.secrets import make_secret
from tests.missing import MissingServiceError
from tests.postgresql_cluster import PostgreSQLCluster
from tests.running_gateway import RunningGateway, running

CALLS = 2000
IDLE_SECONDS = 5
LEDGER_SECONDS = 1.5  # the ledger is written behind the answers
NOT_WORK = ("BEGIN", "COMMIT", "ROLLBACK", "SET ", "RESET", "SHOW ", "DEALLOCATE")


def store_operations(upstream: int, directory: Path) -> dict[str, Any]:
    """Statements and transactions per 1,000 plain requests, what idle time makes taken off."""
    try:
        cluster = PostgreSQLCluster(["shared_preload_libraries=pg_stat_statements"])
    except MissingServiceError as missing:
        return {"missing": str(missing)}
    try:
        return _counted(cluster, upstream, directory)
    finally:
        cluster.stop()


def _counted(cluster: PostgreSQLCluster, upstream: int, directory: Path) -> dict[str, Any]:
    url, secret = cluster.new_database(), make_secret()
    with psycopg.connect(url, autocommit=True) as watching:
        watching.execute("CREATE EXTENSION pg_stat_statements")
        installation = RunningGateway(
            directory / "counted",
            environment={
                "DATABASE_URL": url,
                "ALLOW_PRIVATE_UPSTREAMS": f"127.0.0.1:{upstream}",
                "SECRET_KEY": make_secret(),
                "CREDENTIAL_KEYS": Fernet.generate_key().decode(),
            },
            config=bench_config(upstream, secret),
        )
        with running(installation):
            program = Program(installation.pid, installation.worker_pid())
            contender = Contender("counted", "", installation.port, program, secret)
            return _per_thousand(watching, contender)


def _per_thousand(watching: psycopg.Connection[Any], contender: Contender) -> dict[str, Any]:
    asyncio.run(drive(contender.port, contender.plain(), calls=200, connections=8))
    time.sleep(LEDGER_SECONDS)
    before = _statements(watching)
    time.sleep(IDLE_SECONDS)
    idle = (_statements(watching) - before) / IDLE_SECONDS
    before, began = _statements(watching), time.monotonic()
    asyncio.run(drive(contender.port, contender.plain(), calls=CALLS, connections=8))
    time.sleep(LEDGER_SECONDS)
    took = time.monotonic() - began
    made = _statements(watching) - before
    return {
        "statements_per_1000_requests": round(max(0.0, made - idle * took) * 1000 / CALLS, 1),
        "statements_a_second_when_idle": round(idle, 1),
        "counted_on": "PostgreSQL, pg_stat_statements, without BEGIN and COMMIT",
    }


def _statements(watching: psycopg.Connection[Any]) -> int:
    rows = watching.execute(
        "SELECT query, sum(calls)::bigint FROM pg_stat_statements s"
        " JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = current_database()"
        " AND query NOT LIKE '%pg_stat_statements%' GROUP BY query"
    ).fetchall()
    return sum(calls for query, calls in rows if not query.upper().startswith(NOT_WORK))
