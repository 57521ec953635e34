"""Tells an error about the rows that were to be written from one about the database itself.

By the kind of exception alone it cannot be told: a row too large for an index is as much an
OperationalError as a server that shuts down. Where it cannot be told at all the error counts as
the rows' own: such a row is set aside and tried again, and holds up nobody meanwhile.
"""

import sqlite3

from django.db import DataError, Error, IntegrityError

from billing.models import LedgerEntry

# Classes of SQLSTATEs that speak of the server, the connection, the transaction or the schema.
# Source: https://www.postgresql.org/docs/current/errcodes-appendix.html, 2026-11-24
_OF_THE_DATABASE = frozenset({"08", "25", "28", "3D", "40", "42", "53", "55", "57", "58", "F0"})


def is_about_the_rows(error: Exception) -> bool:
    """Whether other rows may be written all the same. May ask the database, outside of a
    transaction that failed."""
    if not isinstance(error, Error):
        return True  # Our own code, or the driver's, tripped over what an entry holds.
    if isinstance(error, DataError | IntegrityError):
        return True
    if sqlstate := getattr(error.__cause__, "sqlstate", None):
        return sqlstate[:2] not in _OF_THE_DATABASE
    if getattr(error.__cause__, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
        # It says so of a function that refuses a value, and of a table that is not there.
        return _ledger_is_there()
    return False


def _ledger_is_there() -> bool:
    try:
        LedgerEntry.objects.exists()
    except Error:
        return False
    return True
