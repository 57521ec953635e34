"""The database of a running gateway, read and watched from outside the product."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from tests.faults.history import Movement

_SQLITE_WATCH = [
    "CREATE TABLE faults_movement (counter_id bigint, taken bigint, ceiling bigint)",
    "CREATE TRIGGER faults_watch_insert AFTER INSERT ON billing_counter BEGIN"
    " INSERT INTO faults_movement VALUES (NEW.id, NEW.taken, NEW.ceiling); END",
    "CREATE TRIGGER faults_watch_update AFTER UPDATE ON billing_counter BEGIN"
    " INSERT INTO faults_movement VALUES (NEW.id, NEW.taken, NEW.ceiling); END",
]
_POSTGRESQL_WATCH = [
    "CREATE TABLE faults_movement (counter_id bigint, taken bigint, ceiling bigint)",
    """
    CREATE FUNCTION faults_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO faults_movement VALUES (NEW.id, NEW.taken, NEW.ceiling);
        RETURN NULL;
    END $$
    """,
    "CREATE TRIGGER faults_watch AFTER INSERT OR UPDATE ON billing_counter"
    " FOR EACH ROW EXECUTE FUNCTION faults_note()",
]
# One statement, so one moment. It knows the limits that these tests make: of teams, without end.
_OUT_OF_BALANCE = """
    SELECT counter.id, limits.unit, counter.taken,
        COALESCE((SELECT SUM(amount) FROM billing_holding held
            WHERE held.counter_id = counter.id), 0),
        COALESCE((SELECT SUM(CASE limits.unit
                WHEN 'usd' THEN COALESCE(entry.cost_nano_usd, 0)
                WHEN 'tokens' THEN entry.input_tokens + entry.output_tokens
                WHEN 'requests' THEN CASE entry.entry WHEN 0 THEN 1 ELSE 0 END
                ELSE 0 END)
            FROM billing_ledgerentry entry WHERE entry.team_id = limits.team_id), 0)
    FROM billing_counter counter JOIN billing_limit limits ON limits.id = counter.limit_id
"""

_HOLDINGS = """
    SELECT worker.name, limits.unit, held.amount FROM billing_holding held
    JOIN billing_worker worker ON worker.id = held.worker_id
    JOIN billing_counter counter ON counter.id = held.counter_id
    JOIN billing_limit limits ON limits.id = counter.limit_id
    WHERE held.amount <> 0
"""


class ProductDatabase:
    """Args: url: a PostgreSQL URL, or empty for the SQLite file in `data_dir`."""

    def __init__(self, data_dir: Path, url: str) -> None:
        self._file = data_dir / "gateway.sqlite3"
        self._url = url

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        if self._url:
            with psycopg.connect(self._url) as server:
                return server.execute(statement.encode()).fetchall()
        with closing(sqlite3.connect(self._file, timeout=30)) as connection:
            return connection.execute(statement).fetchall()

    def watch(self) -> None:
        """Write down every value that a counter gets from now on."""
        if self._url:
            with psycopg.connect(self._url) as server:
                for statement in _POSTGRESQL_WATCH:
                    server.execute(statement.encode())
            return
        with closing(sqlite3.connect(self._file, timeout=30)) as connection, connection:
            for statement in _SQLITE_WATCH:
                connection.execute(statement)

    def movements(self) -> list[Movement]:
        """Needs `watch`."""
        rows = self.rows("SELECT counter_id, taken, ceiling FROM faults_movement")
        return [Movement(*row) for row in rows]

    def ceilings(self) -> dict[int, int]:
        return dict(self.rows("SELECT id, ceiling FROM billing_counter"))

    def holdings(self) -> list[str]:
        """Who holds how much of what; empty when nothing is held."""
        return [f"{worker} holds {amount} {unit}" for worker, unit, amount in self.rows(_HOLDINGS)]

    def out_of_balance(self) -> list[str]:
        """Counters that are not what the ledger and the holdings add up to, as of one moment."""
        return [
            f"counter {counter} ({unit}): taken {taken}, held {held}, on the ledger {posted}"
            for counter, unit, taken, held, posted in self.rows(_OUT_OF_BALANCE)
            if taken != held + posted
        ]
