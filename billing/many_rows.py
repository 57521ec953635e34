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
    """Insert rows, each a tuple in the order of the columns, moments as `adapted` makes them."""
    head = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "  # noqa: S608 – see above
    values = f"({', '.join(['%s'] * len(columns))})"
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.executemany(f"{head}{values} {on_conflict}", list(rows))
            return
        given = list(rows)
        statement = f"{head}{', '.join([values] * len(given))} {on_conflict}"
        cursor.execute(statement, list(chain.from_iterable(given)))


def adapted(moment: date) -> Any:
    """A day or a moment in UTC as the database's driver takes it."""
    if isinstance(moment, datetime):
        return connection.ops.adapt_datetimefield_value(moment)
    return connection.ops.adapt_datefield_value(moment)
