"""Reads that all see the same moment, however long they take and whatever is written meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def one_moment() -> Iterator[None]:
    """A read-only transaction on a snapshot, which keeps no writer waiting."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            # Not `atomic`: that would begin as a writer, and hold all others up.
            cursor.execute("BEGIN")
            try:
                yield
            finally:
                cursor.execute("ROLLBACK")
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield
