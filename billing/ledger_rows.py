"""Puts entries into the ledger's table, and says which of them were not there before."""

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import orjson
from django.db import connection

from billing.entries import Entry
from billing.many_rows import adapted
from billing.models import LedgerEntry

_TABLE = LedgerEntry._meta.db_table
_JSON = ("tags", "flags", "attempts", "charges")
_PLAIN = tuple(
    column.name
    for column in LedgerEntry._meta.concrete_fields
    if column.name not in ("id", "started_at", *_JSON)
)
_COLUMNS = ", ".join(("started_at", *_PLAIN, *_JSON))
_WIDTH = 1 + len(_PLAIN) + len(_JSON)
_plain = attrgetter(*_PLAIN)
_AS_BEFORE = "ON CONFLICT (started_at, request_id, entry) DO NOTHING RETURNING request_id, entry"
# SQLite takes 32,766 values in one statement.
_SQLITE_ROWS = 32_766 // _WIDTH


def insert_rows(entries: Sequence[Entry]) -> list[Entry]:
    """Insert, inside the caller's transaction; return the entries that were new."""
    insert = _insert_sqlite if connection.vendor == "sqlite" else _copy
    with connection.wrap_database_errors:
        fresh = insert([(adapted(entry.started_at), *_row(entry)) for entry in entries])
    return [entry for entry in entries if (entry.request_id, entry.entry) in fresh]


def _row(entry: Entry) -> tuple[Any, ...]:
    return (
        *_plain(entry),
        orjson.dumps(entry.tags).decode() if entry.tags else "{}",
        orjson.dumps(entry.flags).decode() if entry.flags else "[]",
        orjson.dumps(entry.attempts).decode() if entry.attempts else "[]",
        orjson.dumps([(c.counter_id, c.amount, c.excess) for c in entry.charges]).decode(),
    )


def _insert_sqlite(rows: list[tuple[Any, ...]]) -> set[tuple[str, int]]:
    fresh: set[tuple[str, int]] = set()
    values = f"({', '.join('?' * _WIDTH)})"
    for start in range(0, len(rows), _SQLITE_ROWS):
        part = rows[start : start + _SQLITE_ROWS]
        # On the driver's own connection: Django would rewrite every placeholder each time.
        fresh.update(
            connection.connection.execute(
                f"INSERT INTO {_TABLE} ({_COLUMNS}) VALUES {', '.join([values] * len(part))} "  # noqa: S608 – the model's own names
                + _AS_BEFORE,
                tuple(chain.from_iterable(part)),
            )
        )
    return fresh


def _copy(rows: list[tuple[Any, ...]]) -> set[tuple[str, int]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMPORARY TABLE IF NOT EXISTS posting ON COMMIT DELETE ROWS"  # noqa: S608 – the model's own names
            f" AS SELECT {_COLUMNS} FROM {_TABLE} WITH NO DATA"
        )
        # A second batch of one transaction must not find the first.
        cursor.execute("DELETE FROM posting")
        with cursor.copy(f"COPY posting ({_COLUMNS}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        cursor.execute(
            f"INSERT INTO {_TABLE} ({_COLUMNS}) SELECT {_COLUMNS} FROM posting {_AS_BEFORE}"  # noqa: S608 – the model's own names
        )
        return set(cursor.fetchall())
