"""Inserts of many rows in one statement, in the words of the database in use.

Table and column names come from the models and are part of the statement; values never are.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from itertools import chain
from typing import Any

from django.db import connection

Row = tuple[Any, ...]


def insert_many(
    table: str, columns: Sequence[str], rows: Iterable[Row], *, on_conflict: str
) -> None:
    """Insert rows, each a tuple in the order of the columns. Datetimes must be in UTC."""
    head = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "  # noqa: S608 – see above
    values = f"({', '.join(['%s'] * len(columns))})"
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.executemany(f"{head}{values} {on_conflict}", [*map(_for_sqlite, rows)])
            return
        given = list(rows)
        statement = f"{head}{', '.join([values] * len(given))} {on_conflict}"
        cursor.execute(statement, list(chain.from_iterable(given)))


def _for_sqlite(row: Row) -> Row:
    """A row as Django's SQLite columns hold it: moments in UTC, without their offset."""
    return tuple(_sqlite_value(value) for value in row)


def _sqlite_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return str(value.replace(tzinfo=None))
    return str(value) if isinstance(value, date) else value
